//! What came of a look at something: the four answers that there are, and no fifth.
//!
//! A look that failed is no absence: `/proc` answers ENOENT for what hidepid hides, EMFILE for want
//! of descriptors. Only a proof makes a process gone.

use serde::{Deserialize, Serialize};

/// What came of a look.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look<T> {
    /// This was seen.
    Seen(T),
    /// It is there no more.
    Gone(Proof),
    /// It could not be looked at.
    NotSeen(WhyNot),
}

impl<T> Look<T> {
    /// The same of something made of what was seen.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Look<U> {
        match self {
            Look::Seen(seen) => Look::Seen(make(seen)),
            Look::Gone(proof) => Look::Gone(proof),
            Look::NotSeen(why) => Look::NotSeen(why),
        }
    }
}

/// What proves that a process is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The kernel knows no process of this number (ESRCH to a signal).
    NoProcess,
    /// Every thread of it has begun to exit: it makes no call again.
    Exiting,
}

/// Why something could not be looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum WhyNot {
    /// The kernel said so.
    Errno(i32),
    /// What it said cannot be read.
    Malformed,
    /// The look hangs, or the process that looked is lost.
    Hangs,
    /// It did not stand still for two looks.
    Changing,
    /// There is more of it than is looked at in time.
    TooMuch,
    /// `/proc` hides it from us.
    Hidden,
}

impl WhyNot {
    /// By the error of a system call.
    pub fn of(error: &std::io::Error) -> WhyNot {
        error.raw_os_error().map_or(WhyNot::Malformed, WhyNot::Errno)
    }

    /// For want of rights: another user could look.
    pub fn is_for_want_of_rights(self) -> bool {
        matches!(self, WhyNot::Hidden | WhyNot::Errno(libc::EACCES | libc::EPERM))
    }
}

impl std::fmt::Display for WhyNot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WhyNot::Errno(error) => std::io::Error::from_raw_os_error(*error).fmt(f),
            WhyNot::Malformed => f.write_str("what the kernel says cannot be read"),
            WhyNot::Hangs => {
                f.write_str("the look hangs in the kernel: a dead disk or network mount?")
            }
            WhyNot::Changing => f.write_str("it did not stand still"),
            WhyNot::Hidden => f.write_str(
                "/proc is mounted with hidepid, and shows not all of them to you: run as root with \
                 CAP_SYS_PTRACE",
            ),
            WhyNot::TooMuch => f.write_str("there is more of it than is looked at in time"),
        }
    }
}
