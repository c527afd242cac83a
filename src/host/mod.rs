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
//! | [`dotlocks`] | lock files that lie in the snapshot |
//! | [`in_force`] | the profile in force against its file |
//! | [`view`] | one process's region, mapped or copied |
//! | [`census`], [`rescan`] | the gated processes, and who came since |
//! | [`pass`] | one pass over all regions |
//! | [`forgive`] | words that mean nothing: sockets, dead threads |
//! | [`barrier`] | raise, lower, wake, admit |
//! | [`engine`], [`run`], [`session`], [`rest`] | drive `gate::drain`; open and thaw; the pause between freezes |
//! | [`quiet`] | waits for a moment that suits, before anybody is held |
//! | [`evidence`] | what speaks for or against the snapshot beside the drain |
//! | [`freeze`], [`report`], [`verdict`] | one whole freeze, its record, its verdict |
//! | [`stats`] | what a gate's freezes have come to so far |
//! | [`syslog`] | the line that a freeze leaves in the system's log |
//! | [`wrapped`] | the snapshot command |
//! | [`token`], [`keeper`] | a freeze that is thawed by another command |

pub mod barrier;
pub mod blockers;
pub mod calm;
pub mod census;
pub mod dotlocks;
pub mod duration;
pub mod engine;
pub mod evidence;
pub mod fault;
pub mod forgive;
pub mod freeze;
pub mod gatedir;
pub mod helper;
pub mod helper_child;
pub mod in_force;
pub mod keeper;
pub mod pass;
pub mod procfs;
pub mod quiet;
pub mod report;
pub mod rescan;
pub mod rest;
pub mod run;
pub mod session;
pub mod settled;
pub mod signals;
pub mod stats;
pub mod sys;
pub mod syslog;
pub mod token;
pub mod verdict;
pub mod view;
pub mod wrapped;
