//! The world of `model_hold.rs`.

pub mod explore;
pub mod order;
pub mod tracer;
pub mod world;
