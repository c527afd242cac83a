//! x86-64, System V.

pub mod children;
pub mod instructions;
pub mod look_up;
mod memory_functions;
pub mod past;
pub mod straight;
pub mod trampoline;
