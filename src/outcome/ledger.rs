//! What is known of one gate's freeze beside its barrier, and the verdict that follows: a function
//! of what was noted here and nothing else.

use crate::foreign_text::ForeignText;
use crate::linux::look::WhyNot;
use crate::outcome::cause::meaning::FindingKind;
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::facts::{Coverage, Watched};
use crate::outcome::finding::Finding;
use crate::outcome::verdict::Verdict;

/// How a gate's barrier fared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Barrier {
    /// It stood from the drain to the thaw.
    Held,
    /// Something moved behind it.
    Moved,
    /// The limit passed before it was lowered.
    Expired,
    /// What became of it is not known.
    Unknown,
}

/// What a snapshot must fulfil, or need not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// Changes must have been watched for, names and contents.
    pub watched: bool,
    /// Everything must be covered, whatever is accepted.
    pub coverage: bool,
    /// Every lock must be known.
    pub locks: bool,
    /// A gap in the coverage is accepted.
    pub accept_partial: bool,
}

/// Everything that was noted of one gate.
#[derive(Clone, Debug)]
pub struct Ledger {
    findings: Vec<Finding>,
    watched: Watched,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger { findings: Vec::new(), watched: Watched::None }
    }
}

impl Ledger {
    /// Notes a finding; each once.
    pub fn note(&mut self, finding: impl Into<Finding>) {
        let finding = finding.into();
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes all of these.
    pub fn note_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.note(finding));
    }

    /// Notes what could not be looked at.
    pub fn not_seen(&mut self, subject: Subject, about: Option<(i32, &ForeignText)>, why: WhyNot) {
        let cause = Cause::NotSeen(subject, why);
        self.note(match about {
            Some((pid, program)) => Finding::of(cause, pid, Some(program.clone())),
            None => cause.into(),
        });
    }

    /// The watch stands: what it cannot see is noted one by one.
    pub fn watch_stands(&mut self) {
        self.watched = Watched::Full;
    }

    /// What was noted.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many things speak against the snapshot.
    pub fn against(&self) -> usize {
        self.against_it().count()
    }

    /// What speaks against the snapshot.
    pub fn against_it(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_against())
    }

    /// How much is covered.
    pub fn coverage(&self) -> Coverage {
        let causes = self.findings.iter().filter_map(Finding::known);
        causes.map(Cause::leaves_covered).max().unwrap_or(Coverage::Full)
    }

    /// How far changes were watched for.
    pub fn watched(&self) -> Watched {
        let causes = self.findings.iter().filter_map(Finding::known);
        causes.map(Cause::leaves_watched).max().unwrap_or(Watched::Full).max(self.watched)
    }

    /// What speaks against the snapshot by itself, however the barrier fared; none: nothing.
    pub fn objection(&self, terms: &Terms) -> Option<Verdict> {
        let accepted =
            |finding: &&Finding| terms.accept_partial && finding.known().is_some_and(Cause::is_gap);
        let verdict = |finding: &Finding| match finding.kind {
            FindingKind::Escape => Some(Verdict::Escaped),
            FindingKind::UngatedWriter | FindingKind::Uncovered => Some(Verdict::Ungated),
            FindingKind::NotSeen => Some(Verdict::Unseen),
            FindingKind::NotWatched
            | FindingKind::Outsider
            | FindingKind::HeldWithLock
            | FindingKind::Dotlock
            | FindingKind::DiedInSection => None,
        };
        Verdict::worst(self.findings.iter().filter(|f| !accepted(f)).filter_map(verdict))
    }

    /// What was required and is not so: its option's value, and how it is.
    pub fn unmet(&self, terms: &Terms) -> Vec<(&'static str, String)> {
        let mut unmet = Vec::new();
        if terms.watched && self.watched() != Watched::Full {
            unmet.push(("watched", format!("watched={}", self.watched().name())));
        }
        if terms.coverage && self.coverage() != Coverage::Full {
            unmet.push(("coverage", format!("coverage={}", self.coverage().name())));
        }
        if terms.locks && self.findings.iter().any(Finding::is_about_locks) {
            unmet.push(("locks", "not every lock is known".into()));
        }
        unmet
    }

    /// The verdict.
    pub fn verdict(&self, barrier: Barrier, terms: &Terms) -> Verdict {
        match barrier {
            Barrier::Unknown => Verdict::Unproven,
            Barrier::Expired => Verdict::Expired,
            Barrier::Moved => Verdict::Escaped,
            Barrier::Held => match self.objection(terms) {
                Some(verdict) => verdict,
                None if !self.unmet(terms).is_empty() => Verdict::Unseen,
                None => Verdict::Consistent,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::library::LibraryLayout;
    use crate::linux::marks::Hidden;
    use crate::outcome::cause::{Claim, Passage};
    use crate::outcome::held::Obstacle;

    /// One of each cause.
    fn causes() -> Vec<Cause> {
        let text = String::new;
        let mut causes = vec![
            Cause::Changed,
            Cause::Passed(Passage::Unknown),
            Cause::MoreChanges(1),
            Cause::OpenForWriting,
            Cause::MappedForWriting,
            Cause::OldPage,
            Cause::PageReplaced,
            Cause::LockedUngated(text()),
            Cause::Ungated(Claim::Child),
            Cause::OtherGate(Claim::Unit),
            Cause::Detached,
            Cause::MapsShared,
            Cause::Aio,
            Cause::IoUring,
            Cause::SecondLibc,
            Cause::NamedToHold,
            Cause::LocksOverflowed,
            Cause::NotHeld,
            Cause::OtherLayout(LibraryLayout::Unmarked),
            Cause::NobodysLock,
            Cause::Hidden(Hidden::NotTold(WhyNot::Malformed)),
            Cause::SyncFailed(text()),
            Cause::NotOfUsers,
            Cause::Outside,
            Cause::MoreOutside(1),
            Cause::OutsideNotSeen(Subject::Process, WhyNot::TooMuch),
            Cause::NoDirectories,
            Cause::NoDirectory(text().into(), text()),
            Cause::OnlyMountWatched(text().into(), text()),
            Cause::NotWatched(text().into(), text()),
            Cause::Exported(text().into(), "NFS"),
            Cause::TooManyChanges,
            Cause::QueueOverflowed,
            Cause::ChangedWithoutPath(1, WhyNot::Hangs),
            Cause::HeldWithLocks(1),
            Cause::Dotlock,
            Cause::DiedInSection,
            Cause::NotAtRest(Obstacle::NotAllowed),
        ];
        let subjects = [
            Subject::Listing,
            Subject::Process,
            Subject::Directories,
            Subject::OtherNames,
            Subject::AllLocks,
            Subject::Descriptors,
            Subject::Watch,
        ];
        causes.extend(subjects.map(|subject| Cause::NotSeen(subject, WhyNot::Errno(libc::EMFILE))));
        causes
    }

    fn terms() -> Vec<Terms> {
        let bits = |n: u8| Terms {
            watched: n & 1 != 0,
            coverage: n & 2 != 0,
            locks: n & 4 != 0,
            accept_partial: n & 8 != 0,
        };
        (0..16).map(bits).collect()
    }

    fn ledger(watch: bool, causes: &[&Cause]) -> Ledger {
        let mut ledger = Ledger::default();
        if watch {
            ledger.watch_stands();
        }
        causes.iter().for_each(|cause| ledger.note((*cause).clone()));
        ledger
    }

    /// All ledgers of up to two findings, under all terms.
    #[test]
    fn consistent_only_with_nothing_known_against_it() {
        let causes = causes();
        let mut consistent = 0;
        for terms in terms() {
            for watch in [true, false] {
                for a in &causes {
                    for b in &causes {
                        let ledger = ledger(watch, &[a, b]);
                        let verdict = ledger.verdict(Barrier::Held, &terms);
                        let open = [a, b].iter().any(|cause| {
                            cause.kind().is_against() && !(terms.accept_partial && cause.is_gap())
                        });
                        let full = ledger.watched() == Watched::Full;
                        let lacks = terms.watched && !full
                            || terms.coverage && ledger.coverage() != Coverage::Full
                            || terms.locks && (a.is_about_locks() || b.is_about_locks());
                        assert_eq!(verdict == Verdict::Consistent, !open && !lacks, "{a:?} {b:?}");
                        assert_eq!(
                            ledger.against() == 0,
                            ![a, b].iter().any(|c| c.kind().is_against())
                        );
                        assert!(watch || !full, "what was not armed did not watch");
                        consistent += u32::from(verdict == Verdict::Consistent);
                    }
                }
            }
        }
        assert!(consistent > 0);
    }

    #[test]
    fn the_barrier_comes_first() {
        for cause in &causes() {
            let ledger = ledger(true, &[cause]);
            for terms in terms() {
                assert_eq!(ledger.verdict(Barrier::Expired, &terms), Verdict::Expired);
                assert_eq!(ledger.verdict(Barrier::Moved, &terms), Verdict::Escaped);
                assert_eq!(ledger.verdict(Barrier::Unknown, &terms), Verdict::Unproven);
            }
        }
    }

    #[test]
    fn what_each_kind_comes_to() {
        let verdict = |cause| {
            let ledger = ledger(true, &[&cause]);
            let (covered, watched) = (ledger.coverage(), ledger.watched());
            (ledger.verdict(Barrier::Held, &Terms::default()), covered, watched)
        };
        use {Coverage as C, Verdict as V, Watched as W};
        assert_eq!(verdict(Cause::Changed), (V::Escaped, C::Full, W::Full));
        assert_eq!(verdict(Cause::Aio), (V::Ungated, C::Partial, W::Full));
        assert_eq!(verdict(Cause::NotHeld), (V::Ungated, C::Partial, W::Full));
        assert_eq!(verdict(Cause::QueueOverflowed), (V::Unseen, C::Full, W::None));
        assert_eq!(verdict(Cause::NoDirectories), (V::Consistent, C::Partial, W::None));
        let contents = Cause::OnlyMountWatched(String::new().into(), String::new());
        assert_eq!(verdict(contents), (V::Consistent, C::Full, W::Contents));
        let unseen = Cause::NotSeen(Subject::Process, WhyNot::Hangs);
        assert_eq!(verdict(unseen), (V::Unseen, C::Partial, W::Full));
    }

    #[test]
    fn each_finding_is_noted_once() {
        let mut ledger = Ledger::default();
        assert!(ledger.findings().is_empty() && ledger.against() == 0);
        let of = |pid| Finding::of(Cause::Aio, pid, None);
        ledger.note_all([of(1), of(2), of(1)]);
        ledger.note(Cause::Dotlock);
        ledger.note(of(2));
        let pids: Vec<_> = ledger.findings().iter().map(|finding| finding.pid).collect();
        assert_eq!(pids, [Some(1), Some(2), None]);
        assert_eq!(ledger.against(), 2);
        assert!(ledger.against_it().all(|finding| finding.pid.is_some()));
    }

    #[test]
    fn what_could_not_be_looked_at_names_the_process_if_it_was_one() {
        let mut ledger = Ledger::default();
        ledger.not_seen(Subject::AllLocks, None, WhyNot::TooMuch);
        ledger.not_seen(Subject::Process, Some((7, &"imap".into())), WhyNot::Hangs);
        let [all, one] = ledger.findings() else { panic!("{:?}", ledger.findings()) };
        assert_eq!((all.pid, &all.program), (None, &None));
        assert_eq!(all.known(), Some(&Cause::NotSeen(Subject::AllLocks, WhyNot::TooMuch)));
        assert_eq!((one.pid, &one.program), (Some(7), &Some("imap".into())));
        assert_eq!(one.known(), Some(&Cause::NotSeen(Subject::Process, WhyNot::Hangs)));
    }

    #[test]
    fn what_is_required_and_lacking_is_said_by_its_option() {
        let all = Terms { watched: true, coverage: true, locks: true, accept_partial: true };
        let unmet = |ledger: &Ledger, terms: &Terms| {
            let unmet = ledger.unmet(terms).into_iter();
            unmet.map(|(option, is)| format!("{option}: {is}")).collect::<Vec<_>>()
        };
        let bare = ledger(false, &[]);
        assert_eq!(unmet(&bare, &Terms::default()), [""; 0]);
        assert_eq!(unmet(&bare, &all), ["watched: watched=none"]);
        let contents = Cause::OnlyMountWatched("/srv".into(), String::new());
        let lacking = ledger(true, &[&contents, &Cause::LocksOverflowed]);
        let expected = [
            "watched: watched=contents",
            "coverage: coverage=partial",
            "locks: not every lock is known",
        ];
        assert_eq!(unmet(&lacking, &all), expected);
        assert_eq!(lacking.verdict(Barrier::Held, &all), Verdict::Unseen);
        assert_eq!(unmet(&ledger(true, &[]), &all), [""; 0]);
    }

    #[test]
    fn a_finding_that_was_read_from_a_record_is_no_gap_that_is_accepted() {
        let accepting = Terms { accept_partial: true, ..Terms::default() };
        let aio = Finding::from(Cause::Aio);
        let read: Finding = serde_json::from_str(&serde_json::to_string(&aio).unwrap()).unwrap();
        let with = |finding| Ledger { findings: vec![finding], watched: Watched::Full };
        assert_eq!(with(aio).objection(&accepting), None);
        assert_eq!(with(read).objection(&accepting), Some(Verdict::Ungated));
    }
}
