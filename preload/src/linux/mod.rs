//! The system calls that the library makes itself: raw, errno untouched.
//!
//! | module | duty |
//! |---|---|
//! | [`call`] | the macro that all of them are made with |
//! | [`files`] | files, descriptors, directories, sockets' addresses |
//! | [`memory`] | mappings, and whether memory can be read |
//! | [`process`] | process, threads, clock, waiting |

mod call;
pub mod files;
pub mod memory;
pub mod process;
