//! The region: what one process announces about itself.
//!
//! An anonymous shared mapping of the process's own. It has no file, no name,
//! no owner and no descriptor; the freezer finds it in `/proc/PID/maps` and maps
//! it read-only. Only its process writes it. Nothing in it is a pointer that anybody follows
//! (one address is a place that the helper copies text from). The freezer believes nothing
//! that it reads here about any other process.
//!
//! ```text
//!   page 0    Header (496 bytes), then the lock table
//!   page 1..  Slot, one for each thread that ever made a hooked call
//!   then      FileName, where its dotlocks lie
//! ```

use crate::abi::{constants, shared};
use crate::control::Rank;
use crate::locks::{FILE_NAMES, FileName, LockTable};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};

constants! {
    /// Changes with what the numbers in a region mean.
    pub(crate) shape SHAPE;

    /// First eight bytes of a region, written last.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"wgregion");
    /// Thread slots in a region. Threads beyond share [`Header::overflow`].
    pub const SLOTS: usize = 2048;
    /// Where the slots begin.
    pub const SLOTS_OFFSET: usize = 4096;
    /// Where the names of dotlocks begin.
    pub const NAMES_OFFSET: usize = SLOTS_OFFSET + SLOTS * core::mem::size_of::<Slot>();
    /// Size of a region in bytes.
    pub const SIZE: usize = NAMES_OFFSET + FILE_NAMES * core::mem::size_of::<FileName>();

    /// Freezer's `membarrier` does not reach this process: it announces by `xchg`.
    pub const FLAG_STRONG: u32 = 1;
    /// Lock table was full once: locks are confirmed by the kernel's view only.
    pub const FLAG_LOCKS_UNKNOWN: u32 = 4;
    /// Has mapped a file on a protected device shared and writable, if only once: stores cannot be
    /// held. Whether the file is a protected one the freezer finds out.
    pub const FLAG_MAPS_SHARED: u32 = 8;
    /// Has used aio, whose helper threads write past the gate.
    pub const FLAG_AIO: u32 = 16;
    /// Has set up an io_uring.
    pub const FLAG_IO_URING: u32 = 32;
    /// Some call of the table does not exist in this process's libc.
    pub const FLAG_CALLS_MISSING: u32 = 64;

    /// Its clock is not the freezer's (a time namespace with an offset, or a page of
    /// another boot): deadlines mean nothing to it, and it waits for none.
    pub const FLAG_FOREIGN_CLOCK: u32 = 128;

    /// By the profile it is held before all others: it looks at the `early` word.
    pub const FLAG_FIRST: u32 = 256;

    /// More calls of the table do not exist there than [`Header::missing`] can name.
    pub const FLAG_MORE_CALLS_MISSING: u32 = 1024;

    /// It is held before these too: it looks at the `senders` word.
    pub const FLAG_SENDER: u32 = 512;
}

/// When it is held, by its flags.
pub fn rank(flags: u32) -> Rank {
    match (flags & FLAG_FIRST != 0, flags & FLAG_SENDER != 0) {
        (true, true) => Rank::Sender,
        (true, false) => Rank::First,
        (false, _) => Rank::Last,
    }
}

shared! {
    /// What a process says about itself.
    #[repr(C)]
    pub struct Header {
        /// [`MAGIC`], written when all else is.
        pub magic: AtomicU64,
        /// [`crate::layout::LAYOUT`].
        pub layout: AtomicU32,
        /// [`SLOTS`].
        pub slots: AtomicU32,
        /// Names this region; never 0, never used twice.
        pub nonce: AtomicU64,
        /// Nonce of the region of the process that forked this one; 0 after exec.
        pub parent_nonce: AtomicU64,
        /// Process id in its own PID namespace.
        pub pid: AtomicI32,
        /// `FLAG_*`.
        pub flags: AtomicU32,
        /// [`crate::word::ProcessWord`].
        pub process: AtomicU64,
        /// Raised whenever a lock is given up: ends a lock holder's admission.
        pub lock_sequence: AtomicU64,
        /// When the open section began, CLOCK_MONOTONIC ns.
        pub section_since: AtomicU64,
        /// The process word's sequence when the owner last changed a file itself.
        pub changes: AtomicU64,
        /// [`Header::changes`] as it was when all that was changed had been fsynced.
        pub synced: AtomicU64,
        /// The family's count of changes ([`Header::family`]) as it was when everything
        /// was last on record, put here at the last fork under a lock.
        pub family_at_fork: AtomicU64,
        /// Calls that passed a closed barrier because their bound was reached.
        pub overdue: AtomicU64,
        /// How many slots were ever used.
        pub slots_used: AtomicU32,
        /// Threads without a slot that are in flight now.
        pub overflow: AtomicU32,
        /// Entries made by threads without a slot.
        pub overflow_entries: AtomicU64,
        /// Table numbers of up to eight calls that this libc lacks, 0: none.
        pub missing: [AtomicU32; 8],
        /// Changes by this program and all that it has forked, until they exec: a child
        /// raises this one in the region of the program's first process. Counted for the
        /// settled rule alone.
        pub family: AtomicU64,
        /// Where those lie that it has changed under its present locks and that no list
        /// protected ([`crate::places::note`]). Made before the process word says so.
        pub passed_by: AtomicU64,
        /// Where its own list of protected directories and of exclusions lies in its memory, as
        /// it was given at its start ([`crate::places::Named`]). Read by the freezer's helper
        /// alone, which copies; 0: nowhere.
        pub named_at: AtomicU64,
        /// How long that is, in bytes.
        pub named_len: AtomicU64,
        /// Which places of the names of its dotlocks are taken ([`crate::locks::FileNames`]).
        pub names_taken: AtomicU64,
        /// Raised before and after each call that maps a file on a protected device shared and
        /// writable. A child begins with its parent's number.
        pub shared_mappings: AtomicU64,
        _room: [AtomicU64; 38],
        /// The locks it holds.
        pub locks: LockTable,
    }
}

const _: () = assert!(core::mem::offset_of!(Header, locks) == 496);
const _: () = assert!(core::mem::size_of::<Header>() <= SLOTS_OFFSET);

shared! {
    /// What one thread is doing.
    #[repr(C, align(64))]
    pub struct Slot {
        /// [`crate::word::ThreadWord`].
        pub word: AtomicU64,
        /// Stack position of the outermost call: tells a nested call from a word
        /// that siglongjmp or cancellation left behind.
        pub stack: AtomicU64,
        /// Thread id in its own PID namespace; 0: slot is free.
        pub tid: AtomicI32,
        _reserved: AtomicU32,
        /// Device of the lock it waits for (see `Doing::LockWait`).
        pub wait_dev: AtomicU64,
        /// Inode of the lock it waits for.
        pub wait_ino: AtomicU64,
        /// Since when it is held or waits, CLOCK_MONOTONIC ns.
        pub since: AtomicU64,
        _room: [AtomicU64; 2],
    }
}

const _: () = assert!(core::mem::size_of::<Slot>() == 64);
