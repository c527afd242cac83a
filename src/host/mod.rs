//! The freezer's hands: everything that asks the kernel for something.
//!
//! What must be *decided* lies in the crate `gate`; this only reads, maps, stores
//! and wakes as `gate::drain` asks.
//!
//! | module | duty |
//! |---|---|
//! | [`sys`] | the few raw system calls |
//! | [`fault`] | an error with its exit code |
//! | [`duration`] | durations with a unit |
//! | [`gatedir`] | a gate's directory: control page and lock |
//! | [`procfs`] | what `/proc` says without another process's `mmap_lock` |
//! | [`helper`], [`helper_child`] | the process that may hang in our stead |
//! | [`view`] | one process's region, mapped or copied |
//! | [`census`], [`rescan`] | the gated processes, and who came since |
//! | [`pass`] | one pass over all regions |
//! | [`forgive`] | words that mean nothing: sockets, dead threads |
//! | [`barrier`] | raise, lower, wake, admit |
//! | [`engine`] | drives `gate::drain` |

pub mod barrier;
pub mod blockers;
pub mod census;
pub mod duration;
pub mod engine;
pub mod fault;
pub mod forgive;
pub mod gatedir;
pub mod helper;
pub mod helper_child;
pub mod pass;
pub mod procfs;
pub mod rescan;
pub mod rest;
pub mod session;
pub mod signals;
pub mod sys;
pub mod verdict;
pub mod view;
pub mod wrapped;
