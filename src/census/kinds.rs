//! What a process was when it was last looked at.

use crate::foreign_text::ForeignText;
use crate::linux::library::LibraryLayout;

/// What a process was when it was last looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessKind {
    /// Member of this gate, at this place.
    Member(usize, usize),
    /// Maps the page of this gate and does not belong to its service: for all that is decided it is
    /// not gated.
    Outsider(usize),
    /// Shares its parent's memory: may become something of its own any moment.
    Sharing,
    /// None of ours so far: between exec and our constructor, perhaps. Nothing that
    /// /proc/PID/stat shows changes when that has run.
    Undecided,
    /// None of ours, and no loader has run in it (a static program). It becomes ours only if it is a
    /// loader itself (valgrind): it is looked at again, but nobody waits for it.
    Static,
    /// None of ours, in this image.
    Other,
    /// A kernel thread: never anything else.
    Kernel,
    /// Dead, and not reaped: under this start time never anything else.
    Dead,
}

impl ProcessKind {
    /// Is it held by no gate of ours, as far as is known? One that stays undecided has no C library
    /// that we know.
    pub fn is_ungated(self) -> bool {
        matches!(self, ProcessKind::Other | ProcessKind::Outsider(_)) || self.may_come()
    }

    /// May it become ours in this image?
    pub fn may_come(self) -> bool {
        matches!(self, ProcessKind::Undecided | ProcessKind::Static)
    }
}

/// A process that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Start time.
    pub start: u64,
    /// Image.
    pub image: u64,
    /// Its parent, when it was last looked at or listed with its image.
    pub parent: i32,
    /// What it was.
    pub kind: ProcessKind,
}

/// A process that ought to be gated and is not, and why.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Detached {
    /// Process.
    pub pid: i32,
    /// Its name.
    pub comm: ForeignText,
    /// Its parent.
    pub parent: i32,
    /// The layout of its library, if that is certainly not ours.
    pub other_layout: Option<LibraryLayout>,
    /// The gate that its environment names.
    pub asks_for: Option<usize>,
    /// The gate of which it maps a control page that was replaced; none: it has
    /// the library and maps no page of ours, which may be another gate's business.
    pub old_page: Option<usize>,
    /// That page is the one that its own mount namespace has under the name of ours.
    pub hears_another: bool,
}
