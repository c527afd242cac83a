//! What each cause means: one table. Decisions are made by its rows, never by a sentence.

use super::{Cause, Subject};
use crate::outcome::facts::{Coverage, Watched};
use FindingKind as Kind;
use serde::{Deserialize, Serialize};

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
    /// Something that concerns the snapshot could not be looked at.
    NotSeen,
    /// Changes cannot be watched for here, or not all: for lack of kernel or rights.
    NotWatched,
    /// A process was held while it owned a lock: other programs could see that.
    HeldWithLock,
    /// A process owned a dotlock while the snapshot was taken.
    Dotlock,
    /// A process died inside a section, before or during the freeze.
    DiedInSection,
    /// A process that maps the gate's page, or could not be looked at, and does not belong to its
    /// service: it counts for nothing.
    Outsider,
}

impl FindingKind {
    /// Does it speak against the snapshot?
    pub fn is_against(self) -> bool {
        match self {
            FindingKind::Escape
            | FindingKind::UngatedWriter
            | FindingKind::Uncovered
            | FindingKind::NotSeen => true,
            FindingKind::NotWatched
            | FindingKind::Outsider
            | FindingKind::HeldWithLock
            | FindingKind::Dotlock
            | FindingKind::DiedInSection => false,
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Meaning {
    id: &'static str,
    kind: FindingKind,
    about_locks: bool,
    of_a_member: bool,
    holdable: bool,
    gap: bool,
    watched: Watched,
    coverage: Coverage,
}

/// A row of a cause that takes nothing from what is watched; of some kinds it leaves a gap in what is covered.
const fn is(id: &'static str, kind: FindingKind) -> Meaning {
    let coverage = match kind {
        Kind::Uncovered | Kind::UngatedWriter => Coverage::Partial,
        _ => Coverage::Full,
    };
    let watched = Watched::Full;
    Meaning {
        id,
        kind,
        about_locks: false,
        of_a_member: false,
        holdable: false,
        gap: false,
        watched,
        coverage,
    }
}

impl Meaning {
    const fn about_locks(self) -> Self {
        Meaning { about_locks: true, ..self }
    }

    const fn of_a_member(self) -> Self {
        Meaning { of_a_member: true, ..self }
    }

    const fn holdable(self) -> Self {
        Meaning { holdable: true, ..self }
    }

    const fn gap(self) -> Self {
        Meaning { gap: true, ..self }
    }

    const fn watched(self, watched: Watched) -> Self {
        Meaning { watched, ..self }
    }

    const fn uncovered(self) -> Self {
        Meaning { coverage: Coverage::Partial, ..self }
    }
}

impl Cause {
    fn meaning(&self) -> Meaning {
        match self {
            Cause::Changed => is("changed", Kind::Escape),
            Cause::OtherDirectory(_) => is("other-directory", Kind::Escape),
            Cause::Passed(_) => is("passed", Kind::Escape),
            Cause::OpenForWriting => is("open-for-writing", Kind::UngatedWriter).holdable(),
            Cause::OldPage => is("old-page", Kind::UngatedWriter).holdable(),
            Cause::OtherLayout(_) => is("other-layout", Kind::UngatedWriter).holdable(),
            Cause::PageReplaced => is("page-replaced", Kind::UngatedWriter),
            Cause::LockedUngated(_) => {
                is("locked-ungated", Kind::UngatedWriter).about_locks().holdable()
            }
            Cause::Ungated(_) => is("ungated", Kind::Uncovered).holdable().gap(),
            Cause::OtherGate(_) => is("other-gate", Kind::Uncovered).holdable().gap(),
            Cause::Detached => is("detached", Kind::Uncovered).holdable(),
            Cause::MapsShared => {
                is("shared-mapping", Kind::Uncovered).of_a_member().holdable().gap()
            }
            Cause::MappedForWriting => is("mapped-for-writing", Kind::UngatedWriter).holdable(),
            Cause::Aio => is("aio", Kind::Uncovered).of_a_member().holdable().gap(),
            Cause::IoUring => is("io_uring", Kind::Uncovered).of_a_member().holdable().gap(),
            Cause::SecondLibc => is("second-libc", Kind::Uncovered).of_a_member().holdable().gap(),
            Cause::NamedToHold => is("named", Kind::Uncovered).of_a_member().holdable(),
            Cause::LocksOverflowed => {
                is("locks-unknown", Kind::Uncovered).about_locks().of_a_member().holdable().gap()
            }
            Cause::NotHeld => is("not-held", Kind::Uncovered).of_a_member().holdable(),
            Cause::NobodysLock => is("nobodys-lock", Kind::NotSeen).uncovered().about_locks().gap(),
            Cause::Hidden(_) => is("hidden", Kind::NotSeen).uncovered(),
            Cause::SyncFailed(_) => is("sync-failed", Kind::Uncovered),
            Cause::NotOfUsers => is("not-of-users", Kind::Outsider),
            Cause::Outside => is("outside", Kind::Outsider),
            Cause::MoreOutside(_) => is("more-outside", Kind::Outsider),
            Cause::OutsideNotSeen(..) => is("outside-not-seen", Kind::Outsider),
            Cause::NoDirectory(..) => is("no-directory", Kind::NotWatched).watched(Watched::None),
            Cause::NoDirectories => {
                is("no-directories", Kind::NotWatched).uncovered().watched(Watched::None)
            }
            Cause::OnlyMountWatched(..) => {
                is("contents-only", Kind::NotWatched).watched(Watched::Contents)
            }
            Cause::NotWatched(..) => is("not-watched", Kind::NotWatched).watched(Watched::None),
            Cause::OthersUnseen(..) => {
                is("others-unseen", Kind::NotWatched).watched(Watched::Contents)
            }
            Cause::Exported(..) => is("exported", Kind::NotWatched).watched(Watched::Contents),
            Cause::TooManyChanges => is("too-many-changes", Kind::NotSeen).watched(Watched::None),
            Cause::QueueOverflowed => is("queue-overflowed", Kind::NotSeen).watched(Watched::None),
            Cause::ChangedWithoutPath(..) => {
                is("changed-without-path", Kind::NotSeen).watched(Watched::None)
            }
            Cause::MoreChanges(_) => is("more-changes", Kind::Escape),
            Cause::NotSeen(subject, _) => {
                let row = is("not-seen", Kind::NotSeen);
                match subject {
                    Subject::Listing => row.uncovered(),
                    Subject::Process | Subject::Descriptors => row.uncovered().holdable(),
                    Subject::AllLocks => row.about_locks(),
                    Subject::Watch | Subject::OtherNames => row.watched(Watched::None),
                    Subject::Directories => row,
                }
            }
            Cause::HeldWithLocks(_) => is("held-with-locks", Kind::HeldWithLock),
            Cause::Dotlock => is("dotlock", Kind::Dotlock),
            Cause::DiedInSection => is("died-in-section", Kind::DiedInSection),
            Cause::NotAtRest(_) => is("not-at-rest", Kind::UngatedWriter),
        }
    }

    /// What it means.
    pub fn kind(&self) -> FindingKind {
        self.meaning().kind
    }

    /// Its name for machines: never changes.
    pub fn id(&self) -> &'static str {
        self.meaning().id
    }

    /// Does it leave doubt whether every lock is known to a region (`--require locks`)?
    pub fn is_about_locks(&self) -> bool {
        self.meaning().about_locks
    }

    /// Does it stand in a gated process's region? Then no further look changes it.
    pub fn is_of_a_member(&self) -> bool {
        self.meaning().of_a_member
    }

    /// Is it about a process that can be held at rest instead (`--hold-ungated`)?
    pub fn can_be_held(&self) -> bool {
        self.meaning().holdable
    }

    /// Is it a gap that `--accept partial` accepts?
    pub fn is_gap(&self) -> bool {
        self.meaning().gap
    }

    /// How much is still watched of this gate's places, as far as this goes.
    pub fn leaves_watched(&self) -> Watched {
        self.meaning().watched
    }

    /// How much is still covered, as far as this goes.
    pub fn leaves_covered(&self) -> Coverage {
        self.meaning().coverage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_row_in_the_documents_and_no_row_is_of_none() {
        let source = include_str!("meaning.rs");
        let kinds = source.split("pub enum FindingKind {").nth(1).unwrap();
        let kinds = kinds.split("\n}\n").next().unwrap().lines().filter_map(|line| {
            line.strip_prefix("    ")?.strip_suffix(',').filter(|name| !name.starts_with('/'))
        });
        let kinds: Vec<String> = kinds
            .map(|name| {
                let kind: FindingKind = serde_json::from_value(kebab(name).into()).expect(name);
                serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned()
            })
            .collect();
        assert!(kinds.len() > 5, "{kinds:?}");
        let page = include_str!("../../../docs/admin/report.md");
        let table = page.split("| kind of finding |").nth(1).unwrap();
        let rows = table.split("\n\n").next().unwrap().lines().skip(2);
        let rows: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(
            kinds.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            rows.into_iter().collect()
        );
    }

    fn kebab(name: &str) -> String {
        let mut text = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.extend(c.to_lowercase());
        }
        text
    }

    #[test]
    fn which_kinds_speak_against_a_snapshot() {
        for against in [Kind::Escape, Kind::UngatedWriter, Kind::Uncovered, Kind::NotSeen] {
            assert!(against.is_against(), "{against:?}");
        }
        let told = [
            Kind::NotWatched,
            Kind::HeldWithLock,
            Kind::Dotlock,
            Kind::DiedInSection,
            Kind::Outsider,
        ];
        for only_told in told {
            assert!(!only_told.is_against(), "{only_told:?}");
        }
    }

    #[test]
    fn what_a_row_says_is_what_it_says_and_no_more() {
        let plain = is("x", Kind::NotSeen);
        let bits = |row: Meaning| (row.about_locks, row.of_a_member, row.holdable, row.gap);
        assert_eq!(bits(plain), (false, false, false, false));
        assert_eq!(bits(plain.about_locks()), (true, false, false, false));
        assert_eq!(bits(plain.of_a_member()), (false, true, false, false));
        assert_eq!(bits(plain.holdable()), (false, false, true, false));
        assert_eq!(bits(plain.gap()), (false, false, false, true));
        assert_eq!(
            bits(plain.about_locks().of_a_member().holdable().gap()),
            (true, true, true, true)
        );
        let takes = |row: Meaning| (row.id, row.coverage, row.watched);
        assert_eq!(takes(plain), ("x", Coverage::Full, Watched::Full));
        assert_eq!(takes(plain.uncovered()), ("x", Coverage::Partial, Watched::Full));
        let both = plain.gap().uncovered().watched(Watched::Contents).about_locks();
        assert_eq!(takes(both), ("x", Coverage::Partial, Watched::Contents));
        assert_eq!(bits(both), (true, false, false, true));
        for kind in [Kind::Uncovered, Kind::UngatedWriter] {
            assert_eq!(is("x", kind).coverage, Coverage::Partial, "{kind:?}");
        }
        for kind in [Kind::Escape, Kind::NotWatched, Kind::Dotlock, Kind::Outsider] {
            assert_eq!(is("x", kind).coverage, Coverage::Full, "{kind:?}");
        }
    }

    #[test]
    fn what_is_about_a_member_a_hold_or_a_lock_is_so_by_its_row() {
        let of_a_member = Cause::MapsShared;
        assert!(of_a_member.is_of_a_member() && of_a_member.can_be_held() && of_a_member.is_gap());
        assert!(!Cause::Changed.is_of_a_member() && !Cause::Changed.can_be_held());
        assert!(!Cause::Changed.is_gap() && !Cause::Changed.is_about_locks());
        assert!(Cause::NobodysLock.is_about_locks() && !Cause::NobodysLock.is_of_a_member());
        assert_eq!(Cause::NobodysLock.id(), "nobodys-lock");
    }
}
