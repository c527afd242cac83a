//! What a drain may cost: its times, its openings, and the order of those that are held first.

use crate::control::Rank;

/// The limits of one freeze, CLOCK_MONOTONIC ns unless said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Limits {
    /// When every writer goes on, whatever happens. Not 0, never used before.
    pub deadline: u64,
    /// When draining is given up.
    pub drain_until: u64,
    /// Nothing moved for this long: it is stuck (ns).
    pub stuck_after: u64,
    /// How many openings a drain may make.
    pub openings: u32,
    /// Some programs are held before all others.
    pub order: Option<Order>,
}

/// What is held first, and how long that may keep the others waiting (ns; `u64::MAX`: as long
/// as it takes, [`Summary::quiesced`], or the drain has failed).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Order {
    /// Senders before the other first ones, or all of these at once.
    pub from: Rank,
    /// For their own calls and sections to end.
    pub drain: u64,
    /// No other has done anything for this long: they have quiesced
    /// ([`Summary::quiesced`] says it earlier).
    pub quiesced_after: u64,
    /// That is not waited for longer than this.
    pub quiesced_within: u64,
}
