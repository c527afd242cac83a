//! The system calls that the library makes itself: raw, errno untouched.
//!
//! | module | duty |
//! |---|---|
//! | [`call`] | the macro that all of them are made with |
//! | [`files`] | files, descriptors, directories, sockets' addresses |
//! | [`descriptors`] | this process's, as /proc lists them |
//! | [`memory`] | mappings, and whether memory can be read |
//! | [`lines`] | the lines of a small file |
//! | [`signals`] | none while a descriptor of the library's is open |
//! | [`process`] | process, threads, children |
//! | [`time`] | the clock, and waiting |
//! | [`confined`] | is there a filter: which calls may be made |

mod call;
pub mod confined;
pub mod descriptors;
pub mod files;
pub mod lines;
pub mod memory;
pub mod process;
pub mod signals;
pub mod time;
