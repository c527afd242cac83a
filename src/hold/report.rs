//! What the tracer tells: how it ended, and who was held.

use crate::outcome::held::{HeldProcess, NotHeld};
use gate::hold::Outcome;
use serde::{Deserialize, Serialize};

/// How the hold ended: as the machine says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All that could be held are at rest.
    AtRest,
    /// A thread did not stop.
    NotStopped,
    /// A process stayed under a lock.
    UnderLock,
    /// They multiplied faster than they could be held.
    Multiplying,
    /// The processes could not be listed, or the tracer not made safe: in words.
    Failed,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> End {
        match outcome {
            Outcome::AtRest => End::AtRest,
            Outcome::NotStopped => End::NotStopped,
            Outcome::UnderLock => End::UnderLock,
            Outcome::Multiplying => End::Multiplying,
        }
    }
}

/// What the tracer says when it has brought them to rest, or given up and let them go.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// What has failed, in words.
    pub failure: Option<String>,
    /// When the first of them was asked to stop, CLOCK_MONOTONIC ns.
    pub begun_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// Those that are held.
    pub held: Vec<HeldProcess>,
    /// Those that are in the way.
    pub not_held: Vec<NotHeld>,
    /// Dead and not yet waited for by their parents: they do nothing.
    pub zombies: u32,
    /// All were let go for a moment, so often.
    pub openings: u32,
}

/// What the tracer says when it has let them go.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Released {
    /// When the first one was let go, CLOCK_MONOTONIC ns.
    pub begun_at: u64,
    /// When the last one was.
    pub at: u64,
    /// Those that came while all were held, and were not.
    pub came: Vec<NotHeld>,
}
