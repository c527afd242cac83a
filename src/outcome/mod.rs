//! What a freeze came to: faults, findings, the record, the verdict.

pub mod fault;
pub mod report;
pub mod syslog;
pub mod verdict;
