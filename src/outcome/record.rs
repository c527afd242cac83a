//! The record of one freeze: what `--report` writes, what the keeper hands to
//! `thaw`, and what the verdict lines are printed from.
//!
//! Schema version 2. Fields are added, never changed in meaning; a change of
//! meaning is another number.

use crate::duration::show_ms;
use crate::foreign_text::{ForeignText, json};
use crate::linux::clock;
use crate::linux::replace::{READABLE, replace};
use crate::outcome::blocker::Blocker;
use crate::outcome::drain_parts::DrainParts;
use crate::outcome::facts::{Coverage, Watched};
use crate::outcome::fault::{Fault, Result};
use crate::outcome::finding::Finding;
use crate::outcome::held::HeldProcess;
use crate::outcome::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Version of what is written.
pub const SCHEMA: u32 = 2;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// CLOCK_MONOTONIC, ns; 0: did not happen.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME, ns since 1970.
    pub wall_ns: u64,
}

impl Moment {
    /// A moment of the monotonic clock, by how the clocks stand now.
    pub fn at(monotonic_ns: u64) -> Moment {
        if monotonic_ns == 0 {
            return Moment::default();
        }
        let (now, wall) = (clock::now_ns(), clock::wall_ns());
        Moment { monotonic_ns, wall_ns: wall.wrapping_sub(now).wrapping_add(monotonic_ns) }
    }
}

/// One process of a gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Name.
    pub program: ForeignText,
    /// Effective user.
    pub uid: Option<u32>,
    /// Ways past the gate that its region admits to (`shared-mapping`, `aio`, ...).
    pub cannot_hold: Vec<String>,
}

/// The line for one gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerdictLine {
    /// The gate's name.
    pub gate: String,
    /// What may be claimed.
    pub verdict: Verdict,
    /// How much is covered.
    pub coverage: Coverage,
    /// How far changes were watched for.
    pub watched: Watched,
    /// How many things are known against the snapshot.
    pub against: usize,
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
    /// With `--wait-quiet`: it became quiet before the barrier went up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<bool>,
    /// With `--hold-ungated`, or without a gate: so many processes were stopped at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_rest: Option<usize>,
}

impl VerdictLine {
    /// Of a freeze of which nothing was measured.
    pub fn unmeasured(gate: String, verdict: Verdict) -> VerdictLine {
        VerdictLine {
            gate,
            verdict,
            coverage: Coverage::None,
            watched: Watched::None,
            against: 0,
            generation: 0,
            drain_ns: 0,
            held_ns: 0,
            procs: 0,
            waiters: 0,
            admitted: 0,
            escaped: 0,
            openings: 0,
            quiet: None,
            at_rest: None,
        }
    }
}

impl std::fmt::Display for VerdictLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "writegate: gate={} verdict={} coverage={} watched={} against={} gen={} drain={} \
             held={} procs={} waiters={} admitted={} escaped={}",
            self.gate,
            self.verdict.name(),
            self.coverage.name(),
            self.watched.name(),
            self.against,
            self.generation,
            show_ms(self.drain_ns),
            show_ms(self.held_ns),
            self.procs,
            self.waiters,
            self.admitted,
            self.escaped
        )?;
        match self.quiet {
            None => {}
            Some(true) => f.write_str(" quiet=yes")?,
            Some(false) => f.write_str(" quiet=no")?,
        }
        self.at_rest.map_or(Ok(()), |count| write!(f, " at-rest={count}"))
    }
}

/// What came of waiting for a quiet moment (`--wait-quiet`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuietWait {
    /// It became quiet before the end of the wait.
    pub reached: bool,
    /// How long that took, all attempts together, ms.
    pub waited_ms: f64,
    /// Processes with a section open, at the last look.
    pub sections: u32,
    /// Calls in flight, at the last look.
    pub calls: u32,
}

/// One gate of a freeze.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GateRecord {
    /// What the line shows.
    #[serde(flatten)]
    pub line: VerdictLine,
    /// The barrier word: absolute deadline, CLOCK_MONOTONIC ns.
    pub deadline: u64,
    /// Barrier raised.
    pub closed: Moment,
    /// Nothing in flight (or given up).
    pub drained: Moment,
    /// Barrier lowered.
    pub opened: Moment,
    /// Where the time of the drain went.
    #[serde(default)]
    pub drain_parts: DrainParts,
    /// Its processes.
    pub processes: Vec<Process>,
    /// Those that the tracer held at rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_at_rest: Vec<HeldProcess>,
    /// What was in flight when draining was given up.
    pub blockers: Vec<Blocker>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// The command that ran while frozen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandRecord {
    /// Its arguments.
    pub argv: Vec<String>,
    /// Its exit code, or 128 + signal.
    pub exit: Option<u8>,
    /// Started.
    pub started: Moment,
    /// Seen to have ended.
    pub ended: Moment,
}

/// The whole record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the command.
    pub version: String,
    /// The worst verdict of all gates.
    pub verdict: Verdict,
    /// The exit code it was given.
    pub exit: u8,
    /// No writer waits longer, ms.
    pub limit_ms: f64,
    /// One attempt to drain lasts at most, ms.
    pub drain_limit_ms: f64,
    /// Another freeze is waited for at most, ms.
    #[serde(default)]
    pub queue_limit_ms: f64,
    /// A quiet moment is waited for at most, ms; 0: not at all.
    #[serde(default)]
    pub wait_quiet_limit_ms: f64,
    /// Which of the four limits decided: `queue`, `wait-quiet`, `drain`, `limit`.
    #[serde(default)]
    pub limit_hit: Option<String>,
    /// What came of waiting for a quiet moment, if it was asked for.
    #[serde(default)]
    pub quiet: Option<QuietWait>,
    /// Attempts made.
    pub attempts: u32,
    /// The freeze was asked for.
    pub asked: Moment,
    /// The locks of all gates were ours.
    #[serde(default)]
    pub locked: Moment,
    /// The first list of processes stood.
    pub listed: Moment,
    /// The gates, one by one.
    pub gates: Vec<GateRecord>,
    /// The command, if it was run.
    pub command: Option<CommandRecord>,
    /// Everything that was said meanwhile.
    pub notes: Vec<String>,
    /// The token, in token mode.
    pub token: Option<String>,
}

impl Record {
    /// Writes it as JSON: beside the target, then renamed over it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = json(serde_json::to_string_pretty(self).unwrap_or_default()) + "\n";
        let failed = |e| Fault::io(format!("cannot write the report {}", path.display()), &e);
        // A pipe or a device cannot be renamed over. What another user has put there can: a link of its own
        // may lead to a disk.
        let us = nix::unistd::geteuid().as_raw();
        let ours = || path.symlink_metadata().is_ok_and(|meta| meta.uid() == 0 || meta.uid() == us);
        if path.exists() && !path.is_file() && ours() {
            return std::fs::write(path, text).map_err(failed);
        }
        replace(path, text.as_bytes(), READABLE).map_err(failed)
    }
}
