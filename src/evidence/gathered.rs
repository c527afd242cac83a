//! The evidence, gathered step by step.
//!
//! | step | what is done | cost to those that are held |
//! |---|---|---|
//! | [`Evidence::gather`] | list what is not gated and should be, what has protected files open | none: before the barrier |
//! | [`Evidence::before_closing`] | flush while writers still run | none |
//! | [`Evidence::drained`] | ask what holds a lock and is not gated, begin to watch for changes; flush the rest | some µs; `--sync` |
//! | [`Watching::meanwhile`] | take what was seen so far | none: the command runs |
//! | [`Evidence::before_opening`] | take the rest of it | one read |
//! | [`Evidence::after`] | ask again what is not gated, judge | none: after the thaw |

use super::coverage::{self, Service};
use super::mapped_since::MappedSince;
use super::own::Own;
use super::standing::{self, View};
use super::to_hold::{HoldList, Whom};
use super::wanted::Wanted;
use super::watch::Watch;
use super::watching::Watching;
use super::{flush, holders};
use crate::drive::session::Session;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::look::Look;
use crate::linux::process::is_there;
use crate::linux::procfs::locks;
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use crate::outcome::held::NotHeld;
use crate::outcome::ledger::Ledger;
use crate::outcome::verdict::Verdict;
use crate::places::Places;
use crate::places::kind::Kind;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often, and how far apart, one that could not be looked at is looked at again.
const UNSEEN_LOOKS: usize = 5;
const BETWEEN_UNSEEN_NS: u64 = 1_000_000;
/// Longest flush before the barrier goes up: only we wait for it.
const PRE_FLUSH: Duration = Duration::from_secs(30);

/// What is known of a freeze beside its drain.
#[derive(Default)]
pub struct Evidence {
    pub(super) wanted: Wanted,
    /// What was found, by gate.
    pub(super) ledgers: Vec<Ledger>,
    pub(super) places: Vec<Places>,
    pub(super) services: Vec<Service>,
    pub(super) watch: Watch,
    /// Whom the gate cannot hold and the tracer can.
    pub hold: HoldList,
    own: Own,
    mapped: MappedSince,
}

impl Evidence {
    /// Before anything is held. `places`: of each gate; `hold`: whom it wants held at rest.
    pub fn gather(
        session: &mut Session,
        wanted: &Wanted,
        places: Vec<Places>,
        hold: Vec<Whom>,
    ) -> Evidence {
        let gates = session.gates.len();
        let mut evidence = Evidence {
            wanted: wanted.clone(),
            hold: HoldList::new(hold),
            ledgers: vec![Ledger::default(); gates],
            places,
            ..Evidence::default()
        };
        if !wanted.gather {
            return evidence;
        }
        for at in 0..gates {
            evidence.mapped.note(&session.census, at);
            evidence.services.push(Service::default());
            evidence.look_at_standing(session, at, false);
            note_places(&mut evidence.ledgers[at], &evidence.places[at]);
        }
        // While nothing is held: what cannot be read then could not be read in the last pass.
        if let Look::NotSeen(why) = locks::all() {
            for ledger in &mut evidence.ledgers {
                ledger.not_seen(Subject::AllLocks, None, why);
            }
        }
        evidence.watch = Watch::prepare(&evidence.places);
        evidence
    }

    /// Time has passed since it was gathered, and nothing is held yet: what looks
    /// ungated now.
    pub fn refresh(&mut self, session: &Session) {
        for (at, service) in self.services.iter_mut().enumerate() {
            *service = Service::of(&session.census, at);
        }
    }

    /// What is known already speaks against the snapshot: nothing need be held to learn that.
    pub fn objection(&self) -> Option<Verdict> {
        let terms = self.wanted.terms();
        Verdict::worst(self.ledgers.iter().filter_map(|ledger| ledger.objection(&terms)))
    }

    /// What could not be looked at so far, as far as it concerns this gate.
    fn note_unseen(&mut self, session: &mut Session, at: usize) {
        let service = &self.services[at];
        let mut found = standing::unseen(&session.census, service);
        // What fails in the middle of an exec, or as a process ends, does not a moment later.
        for _ in 0..UNSEEN_LOOKS {
            let against = found.iter().filter(|finding| finding.kind.is_against());
            let again: Vec<i32> = against.filter_map(|finding| finding.pid).collect();
            if again.is_empty() || session.signals.received().is_some() {
                break;
            }
            clock::sleep_ns(BETWEEN_UNSEEN_NS);
            session.census.look(&mut session.helper, &again);
            found = standing::unseen(&session.census, service);
        }
        if let Some(why) = session.census.unlisted {
            self.ledgers[at].not_seen(Subject::Listing, None, why);
        }
        self.note_found(session, at, found);
    }

    /// Notes what speaks against the snapshot as the processes stand.
    pub(super) fn look_at_standing(&mut self, session: &mut Session, at: usize, is_last: bool) {
        let Session { gates, census, helper, signals, .. } = session;
        let stop = || signals.received().is_some();
        let mapped_since = &self.mapped.of(census, at);
        let view = View { gate: &gates[at], at, places: &self.places[at], mapped_since, is_last };
        let (mut found, service) = standing::settled(census, helper, &view, &stop);
        found.extend(self.hold.named(census, at));
        self.services[at] = service;
        self.note_found(session, at, found);
    }

    /// Notes what was found; but for what a hold at rest answers.
    fn note_found(&mut self, session: &Session, at: usize, found: Vec<Finding>) {
        let gated = |finding: &Finding| {
            finding.pid.is_some_and(|pid| {
                session.census.gates.iter().flatten().any(|m| m.pid == pid && !m.gone)
            })
        };
        for finding in found {
            let gated = gated(&finding);
            let left = self.hold.take(at, finding, gated);
            self.ledgers[at].note_all(left);
        }
    }

    /// The barriers are up: who has come since it was gathered, belongs to the service and is not gated?
    pub fn look_for_more_to_hold(&mut self, session: &mut Session) {
        session.census.rescan(&mut session.helper, false, false);
        for at in 0..self.services.len() {
            if !self.hold.is_wanted(at) {
                continue;
            }
            self.services[at] = Service::of(&session.census, at);
            let profile = session.gates[at].page.get().profile_text();
            let found: Vec<Finding> =
                coverage::ungated(&session.census, &self.services[at], &self.places[at].reach())
                    .into_iter()
                    .filter(|ungated| {
                        !ungated.elsewhere && !coverage::left_out(ungated.pid, profile)
                    })
                    .filter(|ungated| !self.hold.todo.contains_key(&ungated.pid))
                    .map(|one| Finding::of(Cause::Ungated(one.why), one.pid, Some(one.program)))
                    .collect();
            // And gated ones that came since.
            // (Whether a file that one has mapped is protected was looked up before.)
            let of_members = coverage::ways_past(&session.census, at).into_iter();
            let of_members = of_members.filter(|one| one.known() != Some(&Cause::MapsShared));
            let of_members = of_members.chain(self.hold.named(&session.census, at));
            let new = |finding: &Finding| {
                finding.pid.is_none_or(|pid| !self.hold.todo.contains_key(&pid))
            };
            let found = found.into_iter().chain(of_members.filter(new)).collect();
            self.note_found(session, at, found);
        }
    }

    /// These could not be held: what was found of them counts, and why.
    pub fn not_held(&mut self, processes: &[NotHeld]) {
        for process in processes.iter().filter(|process| process.why.is_free()) {
            let found = self.hold.todo.get(&process.pid).map(|one| one.found.clone());
            let why = Cause::NotAtRest(process.why.clone());
            let why = match process.pid {
                0 => Finding::from(why),
                pid => Finding::of(why, pid, Some(process.program.clone())),
            };
            let gates: Vec<usize> =
                (0..self.ledgers.len()).filter(|at| self.hold.is_wanted(*at)).collect();
            for (at, finding) in found.into_iter().flatten() {
                self.ledgers[at].note(finding);
            }
            gates.into_iter().for_each(|at| self.ledgers[at].note(why.clone()));
        }
    }

    /// The protected directories, by gate.
    pub fn protected(&self) -> Vec<Places> {
        self.places.clone()
    }

    fn dirs(&self) -> Vec<(PathBuf, Arc<File>)> {
        let all = self.places.iter().flat_map(Places::all);
        all.map(|place| (place.path.clone(), place.file.clone())).collect()
    }

    /// Writers still run.
    pub fn before_closing(&mut self, stop: &dyn Fn() -> bool) {
        if self.wanted.sync {
            // What fails here is said when it fails again under the barrier.
            let _ = flush::flush(&self.dirs(), PRE_FLUSH, stop);
        }
    }

    /// Every writer is held: from now on every change is an escape. `unexplained`: what the drain
    /// itself could not explain, by gate.
    pub fn drained(&mut self, session: &mut Session, unexplained: &[Vec<Finding>], deadline: u64) {
        if !self.wanted.gather {
            return;
        }
        for (ledger, unexplained) in self.ledgers.iter_mut().zip(unexplained) {
            ledger.note_all(unexplained.iter().cloned());
        }
        for at in 0..self.services.len() {
            let Session { census, helper, .. } = session;
            let found = holders::unlisted(census, helper, &self.services[at], &self.places[at]);
            self.note_found(session, at, found);
        }
        for at in 0..self.ledgers.len() {
            self.note_unseen(session, at);
        }
        if self.places.iter().any(|p| !p.dirs.is_empty()) {
            self.own.listen();
            self.watch.arm(&self.places);
            for (ledger, places) in self.ledgers.iter_mut().zip(&self.places) {
                if self.watch.is_armed() && !places.dirs.is_empty() {
                    ledger.watch_stands();
                }
            }
        }
        if self.wanted.sync {
            let left = deadline.saturating_sub(clock::now_ns());
            let stop = || session.signals.received().is_some();
            if let Err(why) = flush::flush(&self.dirs(), Duration::from_nanos(left), &stop) {
                for ledger in &mut self.ledgers {
                    ledger.note(Cause::SyncFailed(why.clone()));
                }
            }
        }
    }

    /// The command runs now.
    pub fn command_is(&mut self, pid: i32) {
        self.own.command_is(pid);
    }

    fn take_changes(&mut self, is_last: bool) {
        let Self { watch, own, places, .. } = self;
        watch.take(&mut |pid| own.is(pid), places, is_last);
    }

    /// The snapshot is made; the barrier is still up.
    pub fn before_opening(&mut self, session: &Session) {
        if self.wanted.gather {
            self.take_changes(true);
            self.mapped.judge(&session.census);
        }
    }
}

impl Watching for Evidence {
    fn meanwhile(&mut self) {
        self.own.hear();
        if self.wanted.gather {
            self.take_changes(false);
        }
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.watch.fds().into_iter().chain(self.own.fd()).collect()
    }

    fn urgent_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.watch.urgent_fds()
    }
}

/// What is known of the places beforehand: whose list could not be read, what cannot be watched.
pub(super) fn note_places(ledger: &mut Ledger, places: &Places) {
    if places.dirs.is_empty() {
        ledger.note(Cause::NoDirectories);
    }
    for unread in places.unread.iter().filter(|unread| is_there(unread.pid)) {
        let about = Some((unread.pid, &unread.program));
        ledger.not_seen(Subject::Directories, about, unread.why);
    }
    // Of those that refuse no freeze.
    for missing in &places.missing {
        ledger.note(Cause::NoDirectory(missing.path.clone(), missing.why.to_string()));
    }
    for (path, why) in &places.not_looked_at {
        ledger.note(Cause::NotWatched(path.clone(), why.to_string()));
    }
    for (path, by) in &places.exported {
        ledger.note(Cause::Exported(path.clone(), by));
    }
    for place in places.all() {
        let shown = ForeignText::of_path(&place.path);
        match place.kind {
            Kind::Local | Kind::Btrfs => {}
            Kind::Overlay => ledger.note(Cause::OthersUnseen(shown, "an overlay")),
            Kind::Shared(kind) => ledger.note(Cause::OthersUnseen(shown, kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::samples::me;
    use crate::evidence::wanted::Accept;
    use crate::linux::directory::NotOpened;
    use crate::linux::look::WhyNot;
    use crate::outcome::cause::Claim;
    use crate::outcome::held::Obstacle;
    use crate::places::named::{NamedBy, Unread};
    use crate::places::{Missing, Place};

    fn noted(places: &Places) -> Vec<String> {
        let mut ledger = Ledger::default();
        note_places(&mut ledger, places);
        ledger.findings().iter().map(|finding| finding.cause.clone()).collect()
    }

    fn with(kind: Kind) -> Places {
        let mut places = Places::default();
        let (path, file) = (PathBuf::from("/srv"), Arc::new(File::open("/").unwrap()));
        places.dirs.push(Place { path, file, id: (1, 2), kind, seen_by: 0 });
        places
    }

    #[test]
    fn what_is_known_of_the_places_beforehand_is_noted() {
        assert_eq!(noted(&Places::default()), ["no-directories"]);
        for kind in [Kind::Local, Kind::Btrfs] {
            assert_eq!(noted(&with(kind)), [""; 0]);
        }
        for kind in [Kind::Overlay, Kind::Shared("nfs")] {
            assert_eq!(noted(&with(kind)), ["others-unseen"]);
        }
        let mut places = with(Kind::Local);
        let unread = |pid| Unread { pid, program: "imap".into(), why: WhyNot::Hangs };
        places.unread = vec![unread(me()), unread(i32::MAX)];
        places.missing.push(Missing {
            path: "/x".into(),
            by: NamedBy::Freezer,
            why: NotOpened::NoDirectory,
        });
        places.not_looked_at.push(("/y".into(), NotOpened::Why(WhyNot::TooMuch)));
        places.exported.push(("/z".into(), "NFS"));
        let expected = ["not-seen", "no-directory", "not-watched", "exported"];
        assert_eq!(noted(&places), expected, "of one that is gone nothing");
    }

    #[test]
    fn what_speaks_against_one_gate_speaks_against_the_freeze() {
        let mut evidence = Evidence { ledgers: vec![Ledger::default(); 2], ..Evidence::default() };
        assert_eq!(evidence.objection(), None);
        evidence.ledgers[1].note(Cause::Aio);
        assert_eq!(evidence.objection(), Some(Verdict::Ungated));
        evidence.wanted.accept = vec![Accept::Partial];
        assert_eq!(evidence.objection(), None);
        evidence.ledgers[0].note(Cause::Changed);
        assert_eq!(evidence.objection(), Some(Verdict::Escaped));
    }

    #[test]
    fn who_could_not_be_held_counts_where_a_hold_was_wanted() {
        let any = Whom { any: true, ..Whom::default() };
        let mut evidence = Evidence {
            ledgers: vec![Ledger::default(); 2],
            hold: HoldList::new(vec![any, Whom::default()]),
            ..Evidence::default()
        };
        let ungated = Finding::of(Cause::Ungated(Claim::Unit), me(), None);
        assert!(evidence.hold.take(0, ungated, false).is_none());
        let not_held = |pid, why| NotHeld { pid, program: "imap".into(), why };
        evidence.not_held(&[not_held(me(), Obstacle::AtWork)]);
        assert!(evidence.ledgers.iter().all(|ledger| ledger.findings().is_empty()));
        evidence
            .not_held(&[not_held(me(), Obstacle::NotAllowed), not_held(0, Obstacle::NotListed)]);
        let found: Vec<_> = evidence.ledgers[0]
            .findings()
            .iter()
            .map(|found| (found.cause.as_str(), found.pid))
            .collect();
        let expected =
            [("ungated", Some(me())), ("not-at-rest", Some(me())), ("not-at-rest", None)];
        assert_eq!(found, expected);
        assert!(evidence.ledgers[1].findings().is_empty());
    }
}
