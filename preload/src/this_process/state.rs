//! Where this process stands: its mode, its gate's control page, its region.

use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use gate::control::ControlPage;
use gate::locks::{FILE_NAMES, FileName, FileNames};
use gate::region::{FLAG_FIRST, FLAG_SENDER, Header, SLOTS, Slot};

/// A region as it lies in memory.
#[repr(C)]
pub struct Region {
    /// Page 0.
    pub header: Header,
    /// One for each thread.
    pub slots: [Slot; SLOTS],
    /// Where its lock files lie.
    pub names: [FileName; FILE_NAMES],
}

impl Region {
    /// Where its lock files lie.
    pub fn file_names(&self) -> FileNames<'_> {
        FileNames { taken: &self.header.names_taken, places: &self.names }
    }
}

const _: () = assert!(core::mem::size_of::<Region>() == gate::region::SIZE);

/// A page that reads as zero in a child, however that was made: by fork, by a
/// raw clone, inside an atfork handler. A child thus never takes its
/// parent's region for its own.
#[repr(C, align(4096))]
pub struct Wiped {
    /// This process's region.
    pub region: AtomicPtr<Region>,
    /// The thread of a forked child that makes it ([`crate::arch::instructions::thread_pointer`]).
    pub adopting: AtomicUsize,
    /// Whether its clock is the page's ([`crate::clock::is_foreign`]).
    pub clock: AtomicU8,
    _rest: [u8; 4079],
}

/// See [`Wiped`].
pub static WIPED: Wiped = Wiped {
    region: AtomicPtr::new(core::ptr::null_mut()),
    adopting: AtomicUsize::new(0),
    clock: AtomicU8::new(0),
    _rest: [0; 4079],
};

/// Not looked at the environment yet.
pub const UNREADY: u8 = 0;
/// The constructor, or a hook before it, is at work.
pub const STARTING: u8 = 1;
/// Announces, and waits at the barrier.
pub const GATED: u8 = 2;
/// Runs on as if the library were not there.
pub const UNGATED: u8 = 3;

/// Where this process stands.
pub static MODE: AtomicU8 = AtomicU8::new(UNREADY);
/// The control page, mapped read-only.
pub static CONTROL: AtomicPtr<ControlPage> = AtomicPtr::new(core::ptr::null_mut());
/// The barrier word that holds for this program.
pub static BARRIER: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// The same, if all that holds for this program is what holds for nearly all: no
/// profile flag, and the freezer's membarrier reaches it. Null: the general way only.
pub static ORDINARY: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// The region of this process, or, in a child that has none yet, its parent's.
pub static LAST_REGION: AtomicPtr<Region> = AtomicPtr::new(core::ptr::null_mut());
/// The freezer's membarrier does not reach us: announce by a locked store.
pub static STRONG: AtomicBool = AtomicBool::new(false);
/// The deadline that has been seen to pass: its lease is over for good.
pub static EXPIRED_BARRIER: AtomicU64 = AtomicU64::new(0);
/// A lock was taken at some time: closing descriptors must look into the table.
pub static LOCKS_SEEN: AtomicBool = AtomicBool::new(false);
/// A lock file was made at some time, or came with a fork.
pub static LOCK_FILES_SEEN: AtomicBool = AtomicBool::new(false);
/// A file that is to be linked to a lock's name was made at some time.
pub static POSTS_SEEN: AtomicBool = AtomicBool::new(false);
/// The profile calls some names locks, or what it says is not known yet.
pub static LOCKS_NAMED: AtomicBool = AtomicBool::new(true);
/// The lock table was full: a lock is held that is not in it.
pub static LOCKS_LOST: AtomicBool = AtomicBool::new(false);
/// So many lock files are held, or may be, that are not in it.
pub static FILES_LOST: AtomicU32 = AtomicU32::new(0);
/// Since then the table was empty: what was not in it must be asked for.
pub static LOCKS_TO_ASK: AtomicBool = AtomicBool::new(false);

/// The kernel does not wipe [`WIPED`] in a child: the hook of fork does it before the call.
pub static NOT_WIPED: AtomicBool = AtomicBool::new(false);

/// This process has made a child that shares its memory: from now on a hook must
/// ask whose process it is in before it touches the lock table.
pub static SHARED_ONCE: AtomicBool = AtomicBool::new(false);

/// The control page of a gated process.
#[inline(always)]
pub fn control() -> Option<&'static ControlPage> {
    // SAFETY: null, or a mapping that stays as long as the process lives, once it is published.
    unsafe { CONTROL.load(Ordering::Acquire).as_ref() }
}

/// The barrier word, of a gated process.
#[inline(always)]
pub fn barrier() -> Option<&'static AtomicU64> {
    // SAFETY: null, or a word of the control page, which is never unmapped.
    unsafe { BARRIER.load(Ordering::Relaxed).as_ref() }
}

/// What its region says about when this program is held.
pub fn rank_flags() -> u32 {
    let Some(page) = control() else { return 0 };
    let barrier = BARRIER.load(Ordering::Relaxed).cast_const();
    if core::ptr::eq(barrier, &raw const page.barrier_senders) {
        FLAG_FIRST | FLAG_SENDER
    } else if core::ptr::eq(barrier, &raw const page.barrier_first) {
        FLAG_FIRST
    } else {
        0
    }
}

/// This process's own region, if it has one.
#[inline(always)]
pub fn region() -> Option<&'static Region> {
    // SAFETY: null, or a mapping that stays at this address as long as the process lives. Acquire:
    // a thread that sees the region sees the settings too.
    unsafe { WIPED.region.load(Ordering::Acquire).as_ref() }
}

/// Sets a flag of this process's region, if it has one.
pub fn set_region_flag(flag: u32) {
    if let Some(region) = region() {
        region.header.flags.fetch_or(flag, Ordering::Relaxed);
    }
}
