//! What a freeze came to.
//!
//! | module | duty |
//! |---|---|
//! | [`exit`] | the table of exit codes |
//! | [`verdict`] | the table of verdicts |
//! | [`fault`] | an error with its exit code |
//! | [`finding`] | the table of causes: what may be found for or against a snapshot |
//! | [`blocker`] | a process that keeps a gate from draining, or waits |
//! | [`record`] | everything about one freeze, and the verdict line |
//! | [`syslog`] | a line for the system's log |

pub mod blocker;
pub mod exit;
pub mod fault;
pub mod finding;
pub mod record;
pub mod syslog;
pub mod verdict;
