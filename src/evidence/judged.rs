//! After the thaw: what the evidence comes to.

use super::coverage;
use super::gathered::Evidence;
use super::wanted::Require;
use crate::drive::session::Session;
use crate::foreign_text::ForeignText;
use crate::linux::procfs;
use crate::outcome::finding::{Cause, Finding, FindingKind};
use crate::outcome::record::Coverage;
use crate::outcome::verdict::Verdict;

/// So many processes are put down that map the page from outside.
const OUTSIDERS: usize = 50;
/// Shown for a process that is there no more.
const GONE: &str = "gone since";

impl Evidence {
    /// The barrier is down.
    pub fn after(&mut self, session: &mut Session) {
        if !self.wanted.gather {
            return;
        }
        session.census.rescan(&mut session.helper, true, false);
        for at in 0..session.gates.len() {
            self.look_for_writers(session, at);
            self.judge_changes(at);
            // Only those that were there before and are so still: a process on its way
            // through exec looks ungated for a moment.
            let now = coverage::ungated(&session.census, at);
            for still in self.ungated[at].iter().filter(|u| now.contains(u)) {
                let program = Some(still.program.clone());
                self.findings[at].push(Finding::of(Cause::Ungated(still.why), still.pid, program));
            }
            self.findings[at].extend(coverage::ways_past(&session.census, at));
            self.note_gaps(session, at);
            if session.gates[at].was_replaced() {
                self.findings[at].push(Cause::PageReplaced.into());
            }
        }
    }

    fn judge_changes(&mut self, at: usize) {
        let places = &self.places[at];
        for change in &self.watch.changes {
            if !change.own && places.judges(change.pid, &change.path) && !change.is_snapshot() {
                let program = change.program.clone().or(Some(GONE.into()));
                let found = Finding::of(Cause::Changed, change.pid, program);
                self.findings[at].push(found.at(ForeignText::of_path(&change.path)));
            }
        }
        let blind = self.watch.blind.iter().cloned().map(Finding::from);
        self.findings[at].extend(blind);
    }

    fn note_gaps(&mut self, session: &Session, at: usize) {
        let census = &session.census;
        let found = &mut self.findings[at];
        let members = census.gates[at].len();
        if self.locks_asked[at] < members {
            found.push(Cause::LocksNotCompared(members - self.locks_asked[at]).into());
        }
        for pid in &session.helper.hung {
            found.push(Finding::of(Cause::Hangs, *pid, procfs::stat(*pid).map(|s| s.comm)));
        }
        if !census.denied.is_empty() {
            found.push(Cause::Denied(census.denied.len()).into());
        }
        for pid in &session.helper.unseen {
            found.push(Finding::of(Cause::Unseen, *pid, procfs::stat(*pid).map(|s| s.comm)));
        }
        let outside: Vec<_> = census.outside.iter().filter(|(_, (of, _))| *of == at).collect();
        for (pid, (_, program)) in outside.iter().take(OUTSIDERS) {
            let cause = match census.services[at].is_named() {
                true => Cause::NotOfUsers,
                false => Cause::Outside,
            };
            found.push(Finding::of(cause, **pid, Some(program.clone())));
        }
        if outside.len() > OUTSIDERS {
            found.push(Cause::MoreOutside(outside.len() - OUTSIDERS).into());
        }
        for (pid, program) in census.died_in_section(at) {
            found.push(Finding::of(Cause::DiedInSection, pid, Some(program)));
        }
    }

    /// What was found about a gate.
    pub fn findings(&self, gate: usize) -> Vec<Finding> {
        self.findings.get(gate).cloned().unwrap_or_default()
    }

    /// The verdict that the findings allow a gate whose barrier held.
    pub fn verdict(&self, gate: usize) -> Verdict {
        let findings = self.findings(gate);
        let has = |kind: FindingKind| findings.iter().any(|f| f.kind == kind);
        if has(FindingKind::Escape) {
            return Verdict::Escaped;
        }
        let missing = self.wanted.require.iter().any(|required| match required {
            Require::Fanotify => !self.watch.is_armed() || !self.watch.blind.is_empty(),
            Require::Locks => findings.iter().any(Finding::is_about_locks),
            // Decided before anything was held.
            Require::Quiet => false,
            Require::Coverage => Coverage::of(&findings) != Coverage::Full,
        });
        if has(FindingKind::UngatedWriter) || missing {
            Verdict::Ungated
        } else {
            Verdict::Consistent
        }
    }
}
