//! One place of the lock table: its layout, and how it is claimed and published.

use crate::abi::{constants, shared, values};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

values! {
    /// What kind of lock an entry is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(u8)]
    pub enum LockKind {
        /// fcntl F_SETLK, lockf.
        Posix = 1,
        /// flock.
        Flock = 2,
        /// fcntl F_OFD_SETLK.
        Ofd = 3,
        /// A lock file made by exclusive create or by link.
        Dot = 4,
    }
}

constants! {
    /// Changes with what the bits of a state mean.
    pub shape SHAPE;

    /// Places in the table.
    pub const LOCKS: usize = 64;

    const FREE: u32 = 0;
    const USED: u32 = 2;
    /// Counts how often a place was filled: a lock is never taken for the one that stood there
    /// before.
    const FILLED: u32 = 0x1ff << 15;
    const FILLED_ONCE: u32 = 1 << 15;
    /// All flags.
    const FLAGS: u32 = 0x7f << 8 | ROOT_LEFT;
    /// The kind's bits.
    const KIND: u32 = 0x7f;

    /// Stands for the device of a file that its process must not ask about (under a system call
    /// filter that it has laid on itself). The inode is the descriptor's number then, or for a lock
    /// file what the name gives.
    pub const NO_DEVICE: u64 = u64::MAX;

    /// Guards writing: counts for the section (an exclusive lock, or a flock shared
    /// on a descriptor open for writing).
    pub const GUARDS: u32 = 1 << 8;
    /// Was compared with the profile's patterns of locks held for life.
    pub const JUDGED: u32 = 1 << 9;
    /// A lock held for life: does not count.
    pub const FOR_LIFE: u32 = 1 << 10;
    /// Came with a fork: its owner is the parent; gives no right to pass.
    pub const INHERITED: u32 = 1 << 11;
    /// A dotlock whose file its owner has also locked through the kernel: as long as that
    /// lasts, that lock says everything.
    pub const KERNEL_TOO: u32 = 1 << 12;
    /// A dotlock in a place that is not protected: it lies in no snapshot.
    pub const OUTSIDE: u32 = 1 << 13;
    /// Its file was so small when it was locked that it may be a pid file.
    pub const SMALL: u32 = 1 << 14;
    /// A dotlock that was made in a root that its process has left: under its name nobody finds it
    /// any more, and that says nothing of it.
    pub const ROOT_LEFT: u32 = 1 << 31;
}

shared! {
    /// One lock.
    #[repr(C)]
    pub struct LockEntry {
        /// FREE or USED in the low bits, then flags, then FILLED, then the kind, then ROOT_LEFT.
        state: AtomicU32,
        fd: AtomicI32,
        /// Entries of one open file description have the same group.
        group: AtomicU32,
        _pad: u32,
        dev: AtomicU64,
        ino: AtomicU64,
        start: AtomicU64,
        end: AtomicU64,
        since: AtomicU64,
    }
}

const _: () = assert!(core::mem::size_of::<LockEntry>() * LOCKS == 4096 - 512);

/// A lock as it is read from the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Its kind.
    pub kind: LockKind,
    /// `GUARDS | JUDGED | FOR_LIFE | INHERITED | KERNEL_TOO | OUTSIDE | SMALL | ROOT_LEFT`.
    pub flags: u32,
    /// Descriptor it was taken on (-1: none).
    pub fd: i32,
    /// Open file description it belongs to, as a number of this process's own.
    pub group: u32,
    /// Device of the locked file.
    pub dev: u64,
    /// Inode of the locked file.
    pub ino: u64,
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX`: to the end of the file.
    pub end: u64,
    /// CLOCK_MONOTONIC ns when it was taken.
    pub since: u64,
}

impl Lock {
    /// Does it count for the section?
    pub fn counts(&self) -> bool {
        self.flags & GUARDS != 0 && self.flags & (FOR_LIFE | INHERITED | KERNEL_TOO) == 0
    }
}

impl LockEntry {
    /// The lock in this place, if there is one.
    pub fn get(&self) -> Option<Lock> {
        self.get_as(self.state.load(Ordering::Acquire))
    }

    /// The lock with what [`LockEntry::empty`] must know of it.
    pub(super) fn get_filled(&self) -> Option<(Lock, u32)> {
        let state = self.state.load(Ordering::Acquire);
        Some((self.get_as(state)?, state & FILLED))
    }

    fn get_as(&self, state: u32) -> Option<Lock> {
        if state & 0xff != USED {
            return None;
        }
        let kind = match state >> 24 & KIND {
            1 => LockKind::Posix,
            2 => LockKind::Flock,
            3 => LockKind::Ofd,
            4 => LockKind::Dot,
            _ => return None,
        };
        Some(Lock {
            kind,
            flags: state & FLAGS,
            fd: self.fd.load(Ordering::Relaxed),
            group: self.group.load(Ordering::Relaxed),
            dev: self.dev.load(Ordering::Relaxed),
            ino: self.ino.load(Ordering::Relaxed),
            start: self.start.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
            since: self.since.load(Ordering::Relaxed),
        })
    }

    /// Fills the place, which is the caller's alone.
    pub(super) fn fill(&self, lock: &Lock) {
        self.fd.store(lock.fd, Ordering::Relaxed);
        self.group.store(lock.group, Ordering::Relaxed);
        self.dev.store(lock.dev, Ordering::Relaxed);
        self.ino.store(lock.ino, Ordering::Relaxed);
        self.start.store(lock.start, Ordering::Relaxed);
        self.end.store(lock.end, Ordering::Relaxed);
        self.since.store(lock.since, Ordering::Relaxed);
        let filled = self.state.load(Ordering::Relaxed).wrapping_add(FILLED_ONCE) & FILLED;
        let state = USED | lock.flags | filled | (lock.kind as u32) << 24;
        self.state.store(state, Ordering::Release);
    }

    /// Empties the place, if the lock that was seen there is there still. False: another did.
    pub(super) fn empty(&self, filled: u32) -> bool {
        let same = |state: u32| state & 0xff == USED && state & FILLED == filled;
        let empty = |state: u32| same(state).then_some(FREE | filled);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, empty).is_ok()
    }

    pub(super) fn flag(&self, flags: u32) {
        self.state.fetch_or(flags, Ordering::AcqRel);
    }

    pub(super) fn unflag(&self, flags: u32) {
        self.state.fetch_and(!flags, Ordering::AcqRel);
    }
}
