//! The verdict: what a freeze may claim about the snapshot, and the line and exit
//! code that say so.

use crate::duration::show_ms;
use crate::outcome::fault;
use serde::{Deserialize, Serialize};

/// What may be claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Everything that was gated stood still for all of the command.
    Consistent,
    /// The command ran without the gate, as `--policy crash-consistent` allows.
    CrashConsistent,
    /// Another freeze held the gate for all of `--queue`; nothing was held.
    Busy,
    /// It did not become quiet, as was required; nothing was held.
    NotQuiet,
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
            Verdict::Busy => "BUSY",
            Verdict::NotQuiet => "NOT_QUIET",
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
            Verdict::Busy | Verdict::NotQuiet | Verdict::NotDrained => fault::NOT_DRAINED,
            Verdict::Interrupted => 130,
            Verdict::Unproven => fault::TOKEN,
            Verdict::Ungated | Verdict::Escaped => fault::ESCAPE,
            Verdict::Expired => fault::EXPIRED,
        }
    }

    /// Which of the limits it ran into, by its option.
    pub fn limit_hit(self) -> Option<&'static str> {
        match self {
            Verdict::Busy => Some("queue"),
            Verdict::NotQuiet => Some("wait-quiet"),
            Verdict::NotDrained | Verdict::CrashConsistent => Some("drain"),
            Verdict::Expired => Some("limit"),
            _ => None,
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
pub struct VerdictLine {
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
    /// With `--wait-quiet`: it became quiet before the barrier went up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<bool>,
}

impl VerdictLine {
    /// Of a freeze of which nothing was measured.
    pub fn unmeasured(gate: String, verdict: Verdict) -> VerdictLine {
        VerdictLine {
            gate,
            verdict,
            coverage: Coverage::None,
            generation: 0,
            drain_ns: 0,
            held_ns: 0,
            procs: 0,
            waiters: 0,
            admitted: 0,
            escaped: 0,
            openings: 0,
            quiet: None,
        }
    }
}

impl std::fmt::Display for VerdictLine {
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
        )?;
        match self.quiet {
            None => Ok(()),
            Some(true) => f.write_str(" quiet=yes"),
            Some(false) => f.write_str(" quiet=no"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_row_and_code_in_the_documents() {
        use Verdict::*;
        let page = include_str!("../../docs/admin/verdicts.md");
        let all = [
            Consistent,
            CrashConsistent,
            Busy,
            NotQuiet,
            NotDrained,
            Interrupted,
            Unproven,
            Ungated,
            Escaped,
            Expired,
        ];
        for verdict in all {
            let row = page.lines().find(|l| l.starts_with(&format!("| {} |", verdict.name())));
            let code = row.expect("a row of its own").split('|').nth(2).unwrap_or("").trim();
            match verdict {
                CrashConsistent => assert_eq!(code, "the command's own"),
                Interrupted => assert_eq!(code, "128 + signal"),
                _ => assert_eq!(code, verdict.code().to_string(), "{}", verdict.name()),
            }
        }
    }
}
