//! What a freeze came to.
//!
//! | module | duty |
//! |---|---|
//! | [`exit`] | the table of exit codes |
//! | [`verdict`] | the table of verdicts |
//! | [`fault`] | an error with its exit code |
//! | [`facts`] | what stands beside a verdict: coverage, watched |
//! | [`cause`] | the table of causes: what may be found for or against a snapshot |
//! | [`finding`] | a cause with its process and file |
//! | [`ledger`] | what was noted of one gate, and the verdict that follows |
//! | [`drain_parts`] | where the time of a drain went |
//! | [`held`] | who was held at rest by the tracer, and who could not be |
//! | [`blocker`] | a process that keeps a gate from draining, or waits |
//! | [`record`] | everything about one freeze, and the verdict line |
//! | [`syslog`] | a line for the system's log |

pub mod blocker;
pub mod cause;
pub mod drain_parts;
pub mod exit;
pub mod facts;
pub mod fault;
pub mod finding;
pub mod held;
pub mod ledger;
pub mod record;
pub mod syslog;
pub mod verdict;
