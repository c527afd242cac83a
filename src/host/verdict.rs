//! The verdict: what a freeze may claim about the snapshot, and the line and exit
//! code that say so.

use super::duration::show_ms;
use super::fault;
use serde::{Deserialize, Serialize};

/// What may be claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Everything that was gated stood still for all of the command.
    Consistent,
    /// The command ran without the gate, as `--policy crash-consistent` allows.
    CrashConsistent,
    /// Somebody stayed in flight; the command was not run.
    NotDrained,
    /// A signal came; the snapshot, if any, is not to be trusted.
    Interrupted,
    /// The keeper is gone, and what it knew with it.
    Unproven,
    /// A process that should be gated is not, and has protected files open.
    Ungated,
    /// Something changed while the gate was closed.
    Escaped,
    /// The limit passed before the thaw: writers went on.
    Expired,
}

impl Verdict {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Consistent => "CONSISTENT",
            Verdict::CrashConsistent => "CRASH_CONSISTENT",
            Verdict::NotDrained => "NOT_DRAINED",
            Verdict::Interrupted => "INTERRUPTED",
            Verdict::Unproven => "UNPROVEN",
            Verdict::Ungated => "UNGATED",
            Verdict::Escaped => "ESCAPED",
            Verdict::Expired => "EXPIRED",
        }
    }

    /// Its exit code. An interrupted freeze exits by its signal.
    pub fn code(self) -> u8 {
        match self {
            Verdict::Consistent | Verdict::CrashConsistent => 0,
            Verdict::NotDrained => fault::NOT_DRAINED,
            Verdict::Interrupted => 130,
            Verdict::Unproven => fault::TOKEN,
            Verdict::Ungated | Verdict::Escaped => fault::ESCAPE,
            Verdict::Expired => fault::EXPIRED,
        }
    }

    /// Was the gate drained and closed?
    pub fn had_drained(self) -> bool {
        matches!(self, Verdict::Consistent | Verdict::Escaped | Verdict::Expired)
    }

    /// Which of two is worse.
    pub fn rank(self) -> u8 {
        self as u8
    }
}

/// How much of the service the gate covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Everything that could be seen of the service is gated.
    Full,
    /// Some process, or some way to write, is not.
    Partial,
    /// Nothing is.
    None,
}

impl Coverage {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Coverage::Full => "full",
            Coverage::Partial => "partial",
            Coverage::None => "none",
        }
    }
}

/// The line for one gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The gate's name.
    pub gate: String,
    /// What may be claimed.
    pub verdict: Verdict,
    /// How much is covered.
    pub coverage: Coverage,
    /// Number of this freeze on this gate.
    pub generation: u64,
    /// Raising the barrier to nothing in flight, ns.
    pub drain_ns: u64,
    /// Raising the barrier to lowering it, ns.
    pub held_ns: u64,
    /// Gated processes.
    pub procs: usize,
    /// Threads that waited at the barrier, at most at one time.
    pub waiters: u32,
    /// Processes that were let in so that the drain could end.
    pub admitted: u32,
    /// Changes that went past the closed gate.
    pub escaped: u32,
    /// The barrier was opened for a moment during the drain.
    pub openings: u32,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "writegate: gate={} verdict={} coverage={} gen={} drain={} held={} procs={} waiters={} \
             admitted={} escaped={}",
            self.gate,
            self.verdict.name(),
            self.coverage.name(),
            self.generation,
            show_ms(self.drain_ns),
            show_ms(self.held_ns),
            self.procs,
            self.waiters,
            self.admitted,
            self.escaped
        )
    }
}
