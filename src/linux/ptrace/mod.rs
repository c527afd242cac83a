//! Stopping other processes' threads, by ptrace.
//!
//! | module | duty |
//! |---|---|
//! | [`calls`] | the requests themselves |
//! | [`wait`] | what threads of ours have done: stopped, why, or ended |
//! | [`rescue`] | a thread that takes what has died while a seize blocks |
//! | [`lease`] | what the tracer needs to end in time by itself: locked memory, a timer |
//!
//! nix's `ptrace` and `waitpid` know no real-time signals: one that comes to a traced process could not
//! be handed on. So the calls are made here.

pub mod calls;
pub mod lease;
pub mod rescue;
pub mod wait;
