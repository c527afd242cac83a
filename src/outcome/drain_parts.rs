//! Where the time of one gate's drain went: what the freezer itself did, and for how long it waited.

use serde::{Deserialize, Serialize};

/// Counted since the barrier went up; over all attempts to drain behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DrainParts {
    /// How often all regions were read.
    pub passes: u32,
    /// Reading them, and judging what they show.
    pub reading_ns: u64,
    /// Holding them against the kernel's locks.
    pub locks_ns: u64,
    /// How many descriptor tables were read for that.
    pub tables: u32,
    /// The last time of these alone: the one that was believed.
    pub last_locks_ns: u64,
    /// Looking for processes that were born since.
    pub listing_ns: u64,
    /// What is asked between two passes of those that are in flight.
    pub asking_ns: u64,
    /// Waiting between two passes.
    pub waiting_ns: u64,
    /// From the last pass that saw something in flight to the end of the drain; 0: there was none.
    pub tail_ns: u64,
}
