//! The record of one freeze: what `--report` writes, what the keeper hands to
//! `thaw`, and what the verdict lines are printed from.
//!
//! Schema version 1. Fields are added, never changed in meaning; a change of
//! meaning is another number.

use crate::census::blockers::Blocker;
use crate::drive::quiet::Quiet;
use crate::outcome::fault::{Fault, Result};
use crate::outcome::verdict::{Coverage, Verdict, VerdictLine};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of what is written.
pub const SCHEMA: u32 = 1;

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
        let (now, wall) = (crate::linux::sys::now_ns(), crate::linux::sys::wall_ns());
        Moment { monotonic_ns, wall_ns: wall.wrapping_sub(now).wrapping_add(monotonic_ns) }
    }
}

/// One process of a gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Name.
    pub program: String,
    /// Effective user.
    pub uid: Option<u32>,
    /// Ways past the gate that its region admits to (`shared-mapping`, `aio`, ...).
    pub cannot_hold: Vec<String>,
}

/// Something found that speaks for or against the snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `escape`, `ungated-writer`, `uncovered`, `unchecked`, `held-with-lock`.
    pub kind: FindingKind,
    /// The process, if there is one.
    pub pid: Option<i32>,
    /// Its program.
    pub program: Option<String>,
    /// The file.
    pub path: Option<String>,
    /// In words.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, "pid {pid}")?;
            if let Some(program) = &self.program {
                write!(f, " ({program})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        if let Some(path) = &self.path {
            write!(f, ": {path}")?;
        }
        Ok(())
    }
}

/// What a finding means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A protected file changed while the gate was closed.
    Escape,
    /// A process that is not gated has a protected file open for writing.
    UngatedWriter,
    /// A process or a way to write that the gate does not cover.
    Uncovered,
    /// Could not be checked.
    Unchecked,
    /// A process was held while it owned a lock: other programs could see that.
    HeldWithLock,
    /// A process owned a dotlock while the snapshot was taken.
    Dotlock,
    /// A process died inside a section, before or during the freeze.
    DiedInSection,
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
    /// Its processes.
    pub processes: Vec<Process>,
    /// Who was in flight when draining was given up.
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
    pub quiet: Option<Quiet>,
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
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let failed = |e| Fault::io(format!("cannot write the report {}", path.display()), &e);
        // A pipe or a device cannot be renamed over.
        if path.exists() && !path.is_file() {
            return std::fs::write(path, text).map_err(failed);
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, path))
            .inspect_err(|_| drop(std::fs::remove_file(&beside)))
            .map_err(failed)
    }

    /// The coverage that findings leave.
    pub fn coverage(findings: &[Finding]) -> Coverage {
        let covered =
            |f: &Finding| !matches!(f.kind, FindingKind::Uncovered | FindingKind::UngatedWriter);
        if findings.iter().all(covered) { Coverage::Full } else { Coverage::Partial }
    }
}
