//! A lock that the kernel shows and no region accounts for, and why.

use crate::linux::look::WhyNot;

/// A lock that no region accounts for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnaccountedLock {
    /// The locked file; its number where its path cannot be told.
    pub path: String,
    /// Why it counts.
    pub why: WhyUnaccounted,
}

/// Why a lock is unaccounted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhyUnaccounted {
    /// No region lists it.
    NotListed,
    /// It came with a fork or an exec, and the one that took it has it no more.
    Inherited,
    /// The kernel shows it, and on no descriptor.
    NoDescriptor,
    /// Its locks change while they are looked at.
    Unstable,
    /// They could not be looked at.
    NotSeen(WhyNot),
}

impl WhyUnaccounted {
    /// In words.
    pub fn words(self) -> String {
        let plain = match self {
            WhyUnaccounted::NotListed => {
                "holds a lock that its region does not account for: what it changes under it may \
                 be half-done"
            }
            WhyUnaccounted::Inherited => {
                "holds a lock that another process took and holds no more: what is changed under \
                 it may be half-done"
            }
            WhyUnaccounted::NoDescriptor => {
                "holds a lock on a file that it has open no more (mapped, or on its way to another \
                 process): what it changes under it may be half-done"
            }
            WhyUnaccounted::Unstable => "takes and gives up locks all the time",
            WhyUnaccounted::NotSeen(why) if why.is_for_want_of_rights() => {
                return format!("its locks cannot be looked at ({why}): run as root on the host");
            }
            WhyUnaccounted::NotSeen(why) => {
                return format!("its locks cannot be looked at ({why})");
            }
        };
        plain.into()
    }
}
