//! The shared memory of one run, and who works in it.

use crossbeam_utils::CachePadded;
use gate::control::{ControlPage, SIZE};
use gate::region::{Header, Slot};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Regions: the first for the processes of the start, the others for children.
pub const REGIONS: usize = 128;
/// From here on regions are children's, used in turn.
pub const FIRST_CHILD: usize = 32;
/// Thread slots of a region.
pub const SLOTS: usize = 256;
/// Places for the oracle: one for each thread that makes single calls.
pub const PAIRS: usize = 64;
/// Sets of two numbers.
pub const SETS: usize = 16;

/// A region as the library lays it out, with fewer slots.
#[repr(C, align(4096))]
pub struct Region {
    pub header: Header,
    pub slots: [Slot; SLOTS],
    /// [`FREE`], [`ALIVE`] or [`DEAD`]: what the kernel would know of the process.
    pub life: AtomicU32,
    /// The lock it holds, by number; 0: none.
    pub holds: AtomicU64,
}

/// Nobody's.
pub const FREE: u32 = 0;
/// A process has it.
pub const ALIVE: u32 = 1;
/// Its process is gone.
pub const DEAD: u32 = 2;

/// Two numbers that agree outside a call, or outside a section.
pub struct Pair {
    pub first: AtomicU64,
    pub second: AtomicU64,
    /// All entries that this worker has made.
    pub entries: AtomicU64,
}

/// A lock of the shared memory.
pub struct Lock {
    pub tickets: AtomicU32,
    pub serves: AtomicU32,
}

/// Everything.
#[repr(C, align(4096))]
pub struct World {
    pub control: ControlPage,
    pub regions: [Region; REGIONS],
    /// A cache line each, so that counting costs the neighbours nothing.
    pub pairs: [CachePadded<Pair>; PAIRS],
    pub sets: [CachePadded<Pair>; SETS],
    pub locks: [CachePadded<Lock>; SETS],
    pub next_child: AtomicU32,
    /// A request and its answer between two processes.
    pub asked: AtomicU64,
    pub answered: AtomicU64,
    pub overdue: AtomicU64,
    /// How many processes there are from the start.
    pub processes: AtomicU32,
    /// How often a held worker looks before it gives its processor away.
    pub spins: AtomicU32,
    pub stop: AtomicU32,
}

impl World {
    /// Fresh shared memory, inherited by every process forked from here.
    pub fn new() -> &'static World {
        // SAFETY: a fresh anonymous mapping of the right size, zeroed, kept for the
        // life of the process; all fields are integers and atomics.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                size_of::<World>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(at, libc::MAP_FAILED, "shared memory");
            &*at.cast::<World>()
        }
    }

    pub fn going_on(&self) -> bool {
        self.stop.load(Relaxed) == 0
    }

    pub fn entries(&self) -> u64 {
        self.pairs.iter().chain(&self.sets).map(|pair| pair.entries.load(Relaxed)).sum()
    }
}

const _: () = assert!(size_of::<ControlPage>() == SIZE);

/// CLOCK_MONOTONIC, ns.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Numbers without a pattern that matters.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

const GLOBAL_EXPEDITED: libc::c_long = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: libc::c_long = 1 << 2;

fn membarrier(command: libc::c_long) -> bool {
    // SAFETY: three integers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// The freezer's fence.
pub fn fence_everybody() {
    assert!(membarrier(GLOBAL_EXPEDITED), "membarrier");
}

/// What the library's constructor does. False: this kernel has none.
pub fn register() -> bool {
    membarrier(REGISTER_GLOBAL_EXPEDITED)
}
