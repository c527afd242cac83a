//! What is asked of a freeze.

use crate::evidence::wanted::Wanted;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Gates.
    pub gates: Vec<String>,
    /// No writer waits longer, ns.
    pub limit_ns: u64,
    /// One attempt to drain lasts at most, ns.
    pub drain_ns: u64,
    /// Further attempts.
    pub retries: u32,
    /// How long to wait for another freezer, ns.
    pub queue_ns: u64,
    /// How long to wait for a quiet moment, all attempts together, ns; 0: not at all.
    pub wait_quiet_ns: u64,
    /// Only processes of these users (and root) are waited for; none: all.
    pub users: Option<Vec<u32>>,
    /// What is asked of the evidence.
    pub evidence: Wanted,
}
