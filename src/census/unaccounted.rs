//! A lock that the kernel shows and no region accounts for, and why.

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
    /// They may not be seen.
    NotSeen,
}

impl WhyUnaccounted {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
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
            WhyUnaccounted::NotSeen => "its locks may not be seen: run as root on the host",
        }
    }
}
