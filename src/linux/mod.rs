//! What is asked of the kernel: system calls, `/proc`, signals, and the one child that may hang
//! in our stead.

pub mod bounded_child;
pub mod helper;
pub mod helper_child;
pub mod procfs;
pub mod signals;
pub mod start_time;
pub mod sys;
