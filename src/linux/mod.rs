//! What is asked of the kernel: system calls, `/proc`, signals, and the one child that may hang
//! in our stead.

pub mod helper;
pub mod helper_child;
pub mod library;
pub mod procfs;
pub mod signals;
pub mod sys;
