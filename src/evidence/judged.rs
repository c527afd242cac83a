//! After the thaw: what the evidence comes to.

use super::gathered::Evidence;
use super::hard_links;
use super::stands::stands_elsewhere;
use super::watch::Watch;
use crate::drive::session::Session;
use crate::foreign_text::ForeignText;
use crate::outcome::cause::Cause;
use crate::outcome::finding::Finding;
use crate::outcome::ledger::{Barrier, Ledger};
use crate::outcome::verdict::Verdict;
use crate::places::Places;

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
            self.look_at_standing(session, at, true);
            self.judge_changes(at);
            self.note_gaps(session, at);
            if session.gates[at].was_replaced() {
                self.ledgers[at].note(Cause::PageReplaced);
            }
        }
    }

    fn judge_changes(&mut self, at: usize) {
        judge_changes(&mut self.watch, at, &self.places[at], &mut self.ledgers[at]);
    }

    fn note_gaps(&mut self, session: &Session, at: usize) {
        let (census, ledger) = (&session.census, &mut self.ledgers[at]);
        let outside: Vec<_> = census.outside.iter().filter(|(_, (of, _))| *of == at).collect();
        for (pid, (_, program)) in outside.iter().take(OUTSIDERS) {
            let cause = match census.services[at].is_named() {
                true => Cause::NotOfUsers,
                false => Cause::Outside,
            };
            ledger.note(Finding::of(cause, **pid, Some(program.clone())));
        }
        if outside.len() > OUTSIDERS {
            ledger.note(Cause::MoreOutside(outside.len() - OUTSIDERS));
        }
        for (pid, program) in census.died_in_section(at) {
            ledger.note(Finding::of(Cause::DiedInSection, pid, Some(program)));
        }
    }

    /// What was noted of a gate.
    pub fn ledger(&self, gate: usize) -> Ledger {
        self.ledgers.get(gate).cloned().unwrap_or_default()
    }

    /// The verdict that a gate's ledger allows.
    pub fn verdict(&self, gate: usize, barrier: Barrier) -> Verdict {
        self.ledger(gate).verdict(barrier, &self.wanted.terms())
    }
}

/// Notes what the watch has seen of the places of this gate, and what it could not see.
pub(super) fn judge_changes(watch: &mut Watch, at: usize, places: &Places, ledger: &mut Ledger) {
    let mounted = watch.mounted.iter().filter(|(gate, _)| *gate == at);
    for (_, point) in mounted {
        ledger.note(Cause::OtherDirectory(ForeignText::of_path(point)));
    }
    for place in &places.dirs {
        let shown = || ForeignText::of_path(&place.path);
        match stands_elsewhere(place) {
            Ok(false) => {}
            Ok(true) => ledger.note(Cause::OtherDirectory(shown())),
            Err(why) => ledger.note(Cause::NoDirectory(shown(), why.to_string())),
        }
    }
    hard_links::look_for(watch, at, places);
    for change in &watch.changes {
        if change.gates.contains(&at) && !change.is_snapshot() {
            let program = change.program.clone().or(Some(GONE.into()));
            let found = Finding::of(Cause::Changed, change.pid, program);
            ledger.note(found.at(ForeignText::of_path(&change.path)));
        }
    }
    if watch.more > 0 {
        ledger.note(Cause::MoreChanges(watch.more));
    }
    for cause in &watch.blind {
        ledger.note(cause.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::watch::FileChange;
    use crate::linux::look::WhyNot;
    use crate::outcome::cause::Subject;

    fn judged(watch: &mut Watch, at: usize) -> Vec<(String, Option<i32>, Option<ForeignText>)> {
        let mut ledger = Ledger::default();
        judge_changes(watch, at, &Places::default(), &mut ledger);
        let found = ledger.findings().iter();
        found.map(|found| (found.cause.clone(), found.pid, found.program.clone())).collect()
    }

    #[test]
    fn a_change_counts_for_the_gates_whose_file_it_is() {
        let mut watch = Watch::default();
        assert!(judged(&mut watch, 0).is_empty());
        let change = |pid, program, gate| FileChange::of_file(pid, program, "/srv/x".into(), gate);
        watch.changes = vec![change(7, Some("imap".into()), 0), change(8, None, 1)];
        assert_eq!(judged(&mut watch, 0), [("changed".into(), Some(7), Some("imap".into()))]);
        assert_eq!(judged(&mut watch, 1), [("changed".into(), Some(8), Some(GONE.into()))]);
        assert!(judged(&mut watch, 2).is_empty());
        watch.changes.truncate(1);
        watch.mounted.insert((1, "/srv/m".into()));
        assert_eq!(judged(&mut watch, 0).len(), 1, "mounted in another gate's");
        assert_eq!(judged(&mut watch, 1), [("other-directory".into(), None, None)]);
        let mut ledger = Ledger::default();
        judge_changes(&mut watch, 0, &Places::default(), &mut ledger);
        assert_eq!(ledger.findings()[0].path, Some("/srv/x".into()));
    }

    #[test]
    fn what_was_not_put_down_or_not_seen_counts_for_every_gate() {
        let mut watch = Watch::default();
        watch.more = 1;
        for at in 0..2 {
            assert_eq!(judged(&mut watch, at), [("more-changes".into(), None, None)]);
        }
        watch.more = 0;
        watch.blind =
            vec![Cause::QueueOverflowed, Cause::NotSeen(Subject::OtherNames, WhyNot::TooMuch)];
        for at in 0..2 {
            let ids: Vec<_> = judged(&mut watch, at).into_iter().map(|(id, ..)| id).collect();
            assert_eq!(ids, ["queue-overflowed", "not-seen"]);
        }
    }
}
