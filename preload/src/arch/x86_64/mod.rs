//! x86-64, System V.

pub mod instructions;
pub mod straight;
pub mod trampoline;
