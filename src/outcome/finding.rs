//! The table of causes: everything that may be found for or against a snapshot, what it means,
//! and the sentence that says so. Decisions are made by the cause, never by the sentence.
//!
//! Longer than other files: a line per cause, and one table for all of them.

use crate::foreign_text::ForeignText;
use crate::linux::library::LibraryLayout;
use crate::linux::look::WhyNot;
use crate::linux::marks::Hidden;
use crate::outcome::facts::{Coverage, Watched};
use crate::outcome::held::Obstacle;
use gate::layout::LAYOUT;
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

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A protected file was changed while the gate was closed.
    Changed,
    /// A call passed the closed barrier.
    Passed(Passage),
    /// An ungated process has a protected file open for writing.
    OpenForWriting,
    /// A process maps a page of the gate that was replaced.
    OldPage,
    /// A process of the service, or that asks for the gate, runs a library of this other layout.
    OtherLayout(LibraryLayout),
    /// The gate's page was replaced during the freeze.
    PageReplaced,
    /// An ungated process of the service holds a write lock on this file.
    LockedUngated(String),
    /// A process of the service is not gated.
    Ungated(Claim),
    /// A process of the service is held by another gate, and no directory says what this one holds.
    OtherGate(Claim),
    /// A process has the library and asks for this gate, and does not map its page.
    Detached,
    /// A gated process has mapped a protected file shared and writable.
    MapsShared,
    /// A process that is not gated has mapped a protected file shared and writable.
    MappedForWriting,
    /// A gated process has used aio.
    Aio,
    /// A gated process has set up an io_uring.
    IoUring,
    /// A gated process's table of locks was full once.
    LocksOverflowed,
    /// A gated process says that it waits for no barrier.
    NotHeld,
    /// The kernel shows a lock that guards writing, and no process that holds it.
    NobodysLock,
    /// Processes may map the gate's page that cannot be seen from here.
    Hidden(Hidden),
    /// `--sync` failed.
    SyncFailed(String),
    /// Maps the page, and is of none of `--users`.
    NotOfUsers,
    /// Maps the page, and does not belong to the service.
    Outside,
    /// So many more of these.
    MoreOutside(usize),
    /// This of a process that does not belong to the service could not be looked at.
    OutsideNotSeen(Subject, WhyNot),
    /// A directory that is named as protected and could not be looked at, for this reason.
    NoDirectory(ForeignText, String),
    /// No protected directory is known.
    NoDirectories,
    /// Only a mount could be watched, for this reason.
    OnlyMountWatched(ForeignText, String),
    /// A directory could not be watched, for this reason.
    NotWatched(ForeignText, String),
    /// A directory lies on a file system of this kind, which others can change unseen.
    OthersUnseen(ForeignText, &'static str),
    /// The file system of a directory is shown to other machines by this server of our own.
    Exported(ForeignText, &'static str),
    /// More changes than could be looked at.
    TooManyChanges,
    /// The kernel lost events.
    QueueOverflowed,
    /// This process changed a file that has no path.
    ChangedWithoutPath(i32, WhyNot),
    /// So many further changes were seen and are not put down one by one.
    MoreChanges(u64),
    /// This could not be looked at.
    NotSeen(Subject, WhyNot),
    /// A process was held while it owned so many locks.
    HeldWithLocks(usize),
    /// A dotlock lies in the snapshot.
    Dotlock,
    /// A process died inside a section.
    DiedInSection,
    /// A process that was to be held at rest is not.
    NotAtRest(Obstacle),
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// The list of all processes.
    Listing,
    /// A process, its mappings and its region.
    Process,
    /// Which directories a process protects (WRITEGATE_PATHS).
    Directories,
    /// The kernel's list of locks.
    AllLocks,
    /// The descriptors of a process.
    Descriptors,
    /// What was told of changes.
    Watch,
    /// Whether a file that was changed elsewhere has a protected name too.
    OtherNames,
}

impl Subject {
    fn words(self) -> &'static str {
        match self {
            Subject::Listing => "the processes of this machine",
            Subject::Process => "its mappings",
            Subject::Directories => "which directories it protects (WRITEGATE_PATHS)",
            Subject::OtherNames => "whether a file that was changed elsewhere has a protected name",
            Subject::AllLocks => "the kernel's list of locks",
            Subject::Descriptors => "its open files",
            Subject::Watch => "what the kernel tells of changes",
        }
    }
}

/// How a call came past the closed barrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// It had waited as long as it may.
    Overdue,
    /// Its word moved, and it is over.
    Over,
    /// Its word moved, and this call of the table shows.
    Call(u16),
    /// A word moved, and no more than that is known.
    Unknown,
}

/// Why an ungated process ought to be gated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Claim {
    /// Its parent is gated.
    Child,
    /// It runs in the unit of gated processes.
    Unit,
    /// It runs the program of gated processes.
    Program,
}

impl Cause {
    /// What it means.
    pub fn kind(&self) -> FindingKind {
        match self {
            Cause::Changed | Cause::Passed(_) | Cause::MoreChanges(_) => FindingKind::Escape,
            Cause::OpenForWriting
            | Cause::MappedForWriting
            | Cause::OldPage
            | Cause::OtherLayout(_)
            | Cause::PageReplaced
            | Cause::LockedUngated(_)
            | Cause::NotAtRest(_) => FindingKind::UngatedWriter,
            Cause::Ungated(_)
            | Cause::OtherGate(_)
            | Cause::Detached
            | Cause::MapsShared
            | Cause::Aio
            | Cause::IoUring
            | Cause::LocksOverflowed
            | Cause::NotHeld
            | Cause::SyncFailed(_) => FindingKind::Uncovered,
            Cause::NoDirectories
            | Cause::OnlyMountWatched(..)
            | Cause::OthersUnseen(..)
            | Cause::Exported(..)
            | Cause::NoDirectory(..)
            | Cause::NotWatched(..) => FindingKind::NotWatched,
            Cause::TooManyChanges
            | Cause::QueueOverflowed
            | Cause::ChangedWithoutPath(..)
            | Cause::NobodysLock
            | Cause::Hidden(_)
            | Cause::NotSeen(..) => FindingKind::NotSeen,
            Cause::NotOfUsers
            | Cause::Outside
            | Cause::MoreOutside(_)
            | Cause::OutsideNotSeen(..) => FindingKind::Outsider,
            Cause::HeldWithLocks(_) => FindingKind::HeldWithLock,
            Cause::Dotlock => FindingKind::Dotlock,
            Cause::DiedInSection => FindingKind::DiedInSection,
        }
    }

    /// Does it leave doubt whether every lock is known to a region (`--require locks`)?
    pub fn is_about_locks(&self) -> bool {
        matches!(
            self,
            Cause::NobodysLock
                | Cause::LocksOverflowed
                | Cause::LockedUngated(_)
                | Cause::NotSeen(Subject::AllLocks, _)
        )
    }

    /// Does it stand in a gated process's region? Then no further look changes it.
    pub fn is_of_a_member(&self) -> bool {
        matches!(
            self,
            Cause::MapsShared
                | Cause::Aio
                | Cause::IoUring
                | Cause::LocksOverflowed
                | Cause::NotHeld
        )
    }

    /// Is it about a process that can be held at rest instead (`--hold-ungated`)?
    pub fn can_be_held(&self) -> bool {
        matches!(
            self,
            Cause::OpenForWriting
                | Cause::MappedForWriting
                | Cause::OldPage
                | Cause::OtherLayout(_)
                | Cause::LockedUngated(_)
                | Cause::Ungated(_)
                | Cause::OtherGate(_)
                | Cause::Detached
                | Cause::MapsShared
                | Cause::Aio
                | Cause::IoUring
                | Cause::LocksOverflowed
                | Cause::NotHeld
                | Cause::NotSeen(Subject::Process | Subject::Descriptors, _)
        )
    }

    /// Is it a gap that `--accept partial` accepts?
    pub fn is_gap(&self) -> bool {
        matches!(
            self,
            Cause::Ungated(_)
                | Cause::OtherGate(_)
                | Cause::MapsShared
                | Cause::Aio
                | Cause::IoUring
                | Cause::LocksOverflowed
                | Cause::NobodysLock
        )
    }

    /// How much is still watched of this gate's places, as far as this goes.
    pub fn leaves_watched(&self) -> Watched {
        match self {
            Cause::OnlyMountWatched(..) | Cause::OthersUnseen(..) | Cause::Exported(..) => {
                Watched::Contents
            }
            Cause::NoDirectories
            | Cause::NoDirectory(..)
            | Cause::NotWatched(..)
            | Cause::TooManyChanges
            | Cause::QueueOverflowed
            | Cause::ChangedWithoutPath(..)
            | Cause::NotSeen(Subject::Watch | Subject::OtherNames, _) => Watched::None,
            _ => Watched::Full,
        }
    }

    /// How much is still covered, as far as this goes.
    pub fn leaves_covered(&self) -> Coverage {
        let process = matches!(
            self,
            Cause::NobodysLock
                | Cause::Hidden(_)
                | Cause::NotSeen(Subject::Listing | Subject::Process | Subject::Descriptors, _)
        );
        match self.kind() {
            // Nobody who writes past the gate can be told.
            _ if *self == Cause::NoDirectories => Coverage::Partial,
            FindingKind::Uncovered | FindingKind::UngatedWriter => Coverage::Partial,
            _ if process => Coverage::Partial,
            _ => Coverage::Full,
        }
    }

    /// Its name for machines: never changes.
    pub fn id(&self) -> &'static str {
        match self {
            Cause::Changed => "changed",
            Cause::Passed(_) => "passed",
            Cause::OpenForWriting => "open-for-writing",
            Cause::OldPage => "old-page",
            Cause::PageReplaced => "page-replaced",
            Cause::LockedUngated(_) => "locked-ungated",
            Cause::Ungated(_) => "ungated",
            Cause::OtherGate(_) => "other-gate",
            Cause::Detached => "detached",
            Cause::MapsShared => "shared-mapping",
            Cause::MappedForWriting => "mapped-for-writing",
            Cause::Aio => "aio",
            Cause::IoUring => "io_uring",
            Cause::LocksOverflowed => "locks-unknown",
            Cause::NotHeld => "not-held",
            Cause::OtherLayout(_) => "other-layout",
            Cause::NobodysLock => "nobodys-lock",
            Cause::Hidden(_) => "hidden",
            Cause::SyncFailed(_) => "sync-failed",
            Cause::NotOfUsers => "not-of-users",
            Cause::Outside => "outside",
            Cause::MoreOutside(_) => "more-outside",
            Cause::OutsideNotSeen(..) => "outside-not-seen",
            Cause::NoDirectories => "no-directories",
            Cause::OnlyMountWatched(..) => "contents-only",
            Cause::NotWatched(..) => "not-watched",
            Cause::OthersUnseen(..) => "others-unseen",
            Cause::Exported(..) => "exported",
            Cause::TooManyChanges => "too-many-changes",
            Cause::QueueOverflowed => "queue-overflowed",
            Cause::ChangedWithoutPath(..) => "changed-without-path",
            Cause::MoreChanges(_) => "more-changes",
            Cause::NoDirectory(..) => "no-directory",
            Cause::NotSeen(..) => "not-seen",
            Cause::HeldWithLocks(_) => "held-with-locks",
            Cause::Dotlock => "dotlock",
            Cause::DiedInSection => "died-in-section",
            Cause::NotAtRest(_) => "not-at-rest",
        }
    }

    fn sentence(&self) -> String {
        let plain = match self {
            Cause::Passed(passage) => {
                return format!("a call passed the closed barrier: {}", passage.words());
            }
            Cause::NotAtRest(why) => return why.sentence(),
            Cause::LockedUngated(file) => {
                return format!(
                    "belongs to the service, is not gated, and holds a write lock (file {file}): \
                     what it changes under it may be half-done"
                );
            }
            Cause::OtherLayout(layout) => {
                return format!(
                    "runs another version's library ({}; this gate has layout {LAYOUT:08x}), \
                     which does not hear this gate: restart it",
                    layout.name()
                );
            }
            Cause::SyncFailed(why) => {
                return format!("--sync failed, the snapshot may lack data: {why}");
            }
            Cause::OnlyMountWatched(dir, why) => {
                return format!(
                    "{dir}: only writes through this mount are seen, not names ({why})"
                );
            }
            Cause::NotWatched(dir, why) => {
                return format!("{dir}: changes cannot be watched for ({why})");
            }
            Cause::OthersUnseen(dir, kind) => {
                return format!(
                    "{dir}: lies on {kind}, which other machines or programs can change unseen"
                );
            }
            Cause::Exported(dir, by) => {
                return format!(
                    "{dir}: its file system is exported by {by}: what other machines write is not held"
                );
            }
            Cause::ChangedWithoutPath(pid, why) => {
                return format!(
                    "pid {pid} changed a file, and where that lies cannot be told ({why})"
                );
            }
            Cause::Hidden(hidden) => return hidden.to_string(),
            Cause::NotSeen(subject, why) => {
                return format!("{} cannot be looked at ({why})", subject.words());
            }
            Cause::MoreChanges(count) => {
                return format!("{count} further changes of protected files were seen");
            }
            Cause::HeldWithLocks(count) => {
                return format!("was held while it owned {count} locks");
            }
            Cause::MoreOutside(count) => {
                return format!("{count} more map the control page from outside of the service");
            }
            Cause::NoDirectory(dir, why) => {
                return format!("{dir}: is named as protected and cannot be looked at ({why})");
            }
            Cause::OutsideNotSeen(subject, why) => {
                return format!(
                    "{} cannot be looked at ({why}); it does not belong to the service",
                    subject.words()
                );
            }
            Cause::Outside => {
                "maps the control page and does not belong to the service: not waited for"
            }
            Cause::OtherGate(claim) => {
                return format!(
                    "{}, but by another gate: freeze both, or name the directories of this one",
                    claim.words()
                );
            }
            Cause::Detached => {
                "has the library and asks for this gate, and does not map its page: detached \
                 (`writegate doctor` says why)"
            }
            Cause::Ungated(claim) => claim.words(),
            Cause::Changed => "changed a protected file while the gate was closed",
            Cause::OpenForWriting => "is not gated and has a protected file open for writing",
            Cause::OldPage => {
                "maps a control page of this gate that was replaced: detached until restarted"
            }
            Cause::PageReplaced => {
                "the gate's control page was replaced during the freeze: a process that was \
                 started since does not hear this one"
            }
            Cause::MapsShared => {
                "has mapped a protected file shared and writable: stores cannot be held"
            }
            Cause::MappedForWriting => {
                "is not gated and has mapped a protected file shared and writable"
            }
            Cause::Aio => "has used aio, whose helper threads write past the gate",
            Cause::IoUring => "has set up an io_uring, which writes past the gate",
            Cause::LocksOverflowed => "may hold locks that its region does not show",
            Cause::NotHeld => {
                "waits for no barrier: its clock is not this machine's (a time namespace), or a \
                 system call filter leaves it neither a clock nor a sleep"
            }
            Cause::NobodysLock => {
                "a lock that guards writing is held, and by which process cannot be seen"
            }
            Cause::NotOfUsers => "maps the control page and is of none of --users: not waited for",
            Cause::NoDirectories => {
                "no protected directory is named (--paths, the profile's `path`, WRITEGATE_PATHS): \
                 changes past the gate cannot be watched for"
            }
            Cause::TooManyChanges => "too many changes to look at",
            Cause::QueueOverflowed => "the kernel's queue of changes overflowed",
            Cause::Dotlock => "its lock file lies in the snapshot; a restore deletes it",
            Cause::DiedInSection => {
                "died inside a section: what it left is for the server's own recovery"
            }
        };
        plain.into()
    }
}

impl Passage {
    fn words(self) -> &'static str {
        match self {
            Passage::Overdue => "it had waited as long as it may",
            Passage::Over => "one that is over",
            Passage::Call(call) => gate::calls::name(call),
            Passage::Unknown => "by which process cannot be told",
        }
    }
}

impl Claim {
    fn words(self) -> &'static str {
        match self {
            Claim::Child => "was started by a gated process and is not gated itself",
            Claim::Unit => "runs in the same unit and is not gated",
            Claim::Program => "runs the same program and is not gated: not restarted since?",
        }
    }
}

/// Something found that speaks for or against the snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it means.
    pub kind: FindingKind,
    /// The process, if there is one.
    pub pid: Option<i32>,
    /// Its program.
    pub program: Option<ForeignText>,
    /// The file.
    pub path: Option<ForeignText>,
    /// The cause's name for machines ([`Cause::id`]).
    pub cause: String,
    /// In words.
    pub what: String,
    /// Not known of a finding that was read from a record: nothing is decided by it any more.
    #[serde(skip)]
    known: Option<Cause>,
}

impl From<Cause> for Finding {
    fn from(cause: Cause) -> Finding {
        Finding {
            kind: cause.kind(),
            pid: None,
            program: None,
            path: None,
            cause: cause.id().into(),
            what: cause.sentence(),
            known: Some(cause),
        }
    }
}

impl Finding {
    /// About a process.
    pub fn of(cause: Cause, pid: i32, program: Option<ForeignText>) -> Finding {
        Finding { pid: Some(pid), program, ..Finding::from(cause) }
    }

    /// About this file too.
    pub fn at(self, path: impl Into<ForeignText>) -> Finding {
        Finding { path: Some(path.into()), ..self }
    }

    /// Its cause; none of a finding that was read from a record.
    pub fn known(&self) -> Option<&Cause> {
        self.known.as_ref()
    }

    /// See [`Cause::is_about_locks`].
    pub fn is_about_locks(&self) -> bool {
        self.known().is_some_and(Cause::is_about_locks)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_row_in_the_documents_and_no_row_is_of_none() {
        let source = include_str!("finding.rs");
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
        let page = include_str!("../../docs/admin/report.md");
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
    fn a_sentence_about_a_lock_decides_nothing() {
        let clock = Finding::from(Cause::NotWatched("/srv/lock".into(), "Block device".into()));
        assert!(clock.what.contains("lock") && !clock.is_about_locks());
        let overflow = Finding::of(Cause::LocksOverflowed, 7, Some("imap".into())).at("/srv/index");
        assert!(overflow.is_about_locks());
        assert_eq!(
            overflow.to_string(),
            "pid 7 (imap): may hold locks that its region does not show: /srv/index"
        );
        let read: Finding =
            serde_json::from_str(&serde_json::to_string(&overflow).unwrap()).unwrap();
        assert_eq!((read.kind, read.what.as_str()), (FindingKind::Uncovered, &*overflow.what));
        assert!(!read.is_about_locks());
    }
}
