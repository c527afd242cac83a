//! x86-64, System V.

pub mod instructions;
mod memory_functions;
pub mod straight;
pub mod trampoline;
