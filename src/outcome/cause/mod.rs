//! The causes: everything that may be found for or against a snapshot.
//!
//! | module | duty |
//! |---|---|
//! | [`meaning`] | the table: a row for each cause, by which all is decided |
//! | [`sentence`] | what is told of it; decides nothing |

pub mod meaning;
mod sentence;

use crate::foreign_text::ForeignText;
use crate::linux::library::LibraryLayout;
use crate::linux::look::WhyNot;
use crate::linux::marks::Hidden;
use crate::outcome::held::Obstacle;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A protected file was changed while the gate was closed.
    Changed,
    /// By this name something else was reached for a while than what was held.
    OtherDirectory(ForeignText),
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
    /// A gated process has a second C library loaded.
    SecondLibc,
    /// A gated process is named to be held at rest (`hold`), by its program.
    NamedToHold,
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
