//! The loop that carries out what `gate::drain` and `gate::thaw` ask for.

pub mod barrier;
pub mod calm;
pub mod engine;
pub mod pass;
pub mod quiet;
pub mod rest;
pub mod run;
pub mod settled;
