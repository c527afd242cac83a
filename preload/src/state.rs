//! The few statics: what a process knows of itself and its gate.

use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering,
};
use gate::control::ControlPage;
use gate::profile::{Index, Key};
use gate::region::{FLAG_FIRST, FLAG_SENDER, Header, SLOTS, Slot};

/// A region as it lies in memory.
#[repr(C)]
pub struct Region {
    /// Page 0.
    pub header: Header,
    /// One for each thread.
    pub slots: [Slot; SLOTS],
}

const _: () = assert!(core::mem::size_of::<Region>() == gate::region::SIZE);

/// A page that reads as zero in a child, however that was made: by fork, by a
/// raw clone, inside somebody's atfork handler. A child thus never takes its
/// parent's region for its own.
#[repr(C, align(4096))]
pub struct Wiped {
    /// This process's region.
    pub region: AtomicPtr<Region>,
    _rest: [u8; 4088],
}

/// See [`Wiped`].
pub static WIPED: Wiped = Wiped { region: AtomicPtr::new(core::ptr::null_mut()), _rest: [0; 4088] };

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
/// habits, and the freezer's membarrier reaches it. Null: the general way only.
pub static ORDINARY: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// The region of this process, or, in a child that has none yet, its parent's.
pub static LAST_REGION: AtomicPtr<Region> = AtomicPtr::new(core::ptr::null_mut());
/// The freezer's membarrier does not reach us: announce by a locked store.
pub static STRONG: AtomicBool = AtomicBool::new(false);
/// The deadline that has been seen to pass: its lease is over for good.
pub static LAPSED: AtomicU64 = AtomicU64::new(0);
/// A lock was taken at some time: closing descriptors must look into the table.
pub static LOCKS_SEEN: AtomicBool = AtomicBool::new(false);
/// The barrier that was closed when this program was started (0: none). What it
/// holds over exec gives it no right to pass that one: the freezer may not have seen
/// it yet.
pub static BORN_UNDER: AtomicU64 = AtomicU64::new(0);
/// The lock table was full: a lock is held that is not in it.
pub static LOCKS_LOST: AtomicBool = AtomicBool::new(false);

/// What holds for this program by the profile; 0 for nearly all.
pub static HABITS: AtomicU32 = AtomicU32::new(0);
/// Sections last until the process waits.
pub const UNTIL_WAIT: u32 = 1;
/// Sections last until the process ends.
pub const UNTIL_EXIT: u32 = 128;
/// What is sent to another process of this machine, under a lock, is a change.
pub const HANDS_OVER: u32 = 64;
/// Creating a file begins no section.
pub const NEW_FILES: u32 = 2;
/// Writing to some files begins no section.
pub const PARKABLE: u32 = 4;
/// A write to the locked file completes the set.
pub const RECORD: u32 = 16;
/// Held some ms before all others.
pub const FIRST: u32 = 32;
/// Changes and syncs are counted.
pub const SETTLED: u32 = 8;
/// For the settled rule: the count of changes that this program shares with all that
/// it forks (until they exec), in the region of its first process.
pub static FAMILY: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// What that count was when this process last had everything on record.
pub static FAMILY_RECORDED: AtomicU64 = AtomicU64::new(0);
/// When the last section began that something was handed over in, ns.
pub static HANDED_OVER: AtomicU64 = AtomicU64::new(0);
/// The descriptor that was changed last, -1 if by name.
pub static LAST_CHANGED: AtomicI32 = AtomicI32::new(-1);

/// This process has made a child that shares its memory: from now on a hook must
/// ask whose process it is in before it touches the lock table.
pub static SHARED_ONCE: AtomicBool = AtomicBool::new(false);

/// Files that were found to be protected, by a hash of device and inode. Only
/// this answer may be remembered: it stays the safe one.
pub static PROTECTED: Remembered = Remembered::new();
/// Lock files that were found not to be held for life, likewise.
pub static FOR_A_TIME: Remembered = Remembered::new();

/// A set that forgets: one place for each value of some bits of the hash.
pub struct Remembered([AtomicU64; 64]);

impl Remembered {
    const fn new() -> Self {
        Remembered([const { AtomicU64::new(0) }; 64])
    }

    fn key(dev: u64, ino: u64) -> u64 {
        (dev.rotate_left(40) ^ ino).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    /// Was it put in, and not pushed out since?
    pub fn has(&self, dev: u64, ino: u64) -> bool {
        let key = Self::key(dev, ino);
        self.0.get((key >> 58) as usize).is_some_and(|place| place.load(Ordering::Relaxed) == key)
    }

    /// Puts it in.
    pub fn put(&self, dev: u64, ino: u64) {
        let key = Self::key(dev, ino);
        if let Some(place) = self.0.get((key >> 58) as usize) {
            place.store(key, Ordering::Relaxed);
        }
    }
}

/// The control page of a gated process.
#[inline(always)]
pub fn control() -> Option<&'static ControlPage> {
    // SAFETY: null, or a mapping that is never unmapped once published.
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
    // SAFETY: null, or a mapping that stays at this address for life.
    unsafe { WIPED.region.load(Ordering::Relaxed).as_ref() }
}

/// What was configured, copied once: programs scribble over their environment.
pub struct Settings {
    /// Protected directories, colon-separated; empty: whatever lies on storage.
    pub paths: Text<2048>,
    /// Patterns of files that are not judged, colon-separated.
    pub exclude: Text<1024>,
    /// Devices of the protected directories, as they were at the start.
    pub devices: [u64; 16],
    /// How many of them are set.
    pub device_count: usize,
    /// The profile's text.
    pub profile: Text<{ gate::control::PROFILE_MAX }>,
    /// Where its values lie.
    pub index: Index,
}

impl Settings {
    /// Does some pattern of `key`, given or built in, match?
    pub fn matches(&self, key: Key, path: &[u8]) -> bool {
        self.index.matches(self.profile.str(), key, path)
    }

    /// Is some value of `key` given?
    pub fn has(&self, key: Key) -> bool {
        self.index.has(key)
    }

    /// Does some given pattern of `key` match?
    pub fn given(&self, key: Key, path: &[u8]) -> bool {
        self.index.given(self.profile.str(), key, path)
    }
}

/// A text of bounded length.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// Empty.
    pub const fn new() -> Self {
        Text { bytes: [0; N], len: 0 }
    }

    /// Copies `text`; one that is too long is refused (false).
    pub fn set(&mut self, text: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(..text.len()) else { return false };
        for (to, from) in room.iter_mut().zip(text) {
            *to = *from;
        }
        self.len = text.len();
        true
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The text; empty if it is not UTF-8.
    pub fn str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or("")
    }
}

struct Once(UnsafeCell<Settings>);

// SAFETY: written by the one thread that holds MODE at STARTING, read by others
// only after MODE was stored GATED with release.
unsafe impl Sync for Once {}

static SETTINGS: Once = Once(UnsafeCell::new(Settings {
    paths: Text::new(),
    exclude: Text::new(),
    devices: [0; 16],
    device_count: 0,
    profile: Text::new(),
    index: Index::EMPTY,
}));

/// What was configured. Only for a gated process.
pub fn settings() -> &'static Settings {
    // SAFETY: see `Once`; after the start nobody writes.
    unsafe { &*SETTINGS.0.get() }
}

/// For the start alone.
///
/// # Safety
/// The caller holds MODE at STARTING.
pub unsafe fn settings_mut() -> &'static mut Settings {
    // SAFETY: the caller is the only one.
    unsafe { &mut *SETTINGS.0.get() }
}
