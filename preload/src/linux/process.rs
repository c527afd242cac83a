//! This process and its threads, the clock, and waiting.

use super::call::call;
use core::sync::atomic::AtomicU64;
use linux_raw_sys::errno::ESRCH;
use linux_raw_sys::general as nr;
use linux_raw_sys::general::membarrier_cmd::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
use linux_raw_sys::general::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, FUTEX_WAIT_BITSET, GRND_NONBLOCK, SS_ONSTACK,
};

/// Never cached, so it tells a child that shares memory from its parent.
pub fn pid() -> i32 {
    call!(nr::__NR_getpid) as i32
}

pub fn tid() -> i32 {
    call!(nr::__NR_gettid) as i32
}

/// The effective user.
pub fn euid() -> u32 {
    call!(nr::__NR_geteuid) as u32
}

/// Is this thread of this process gone?
pub fn thread_gone(pid: i32, tid: i32) -> bool {
    call!(nr::__NR_tgkill, pid, tid, 0) == -(ESRCH as isize)
}

/// CLOCK_MONOTONIC in ns: the system call itself, which no other preload replaces.
pub fn now() -> u64 {
    let mut time = [0u64; 2];
    call!(nr::__NR_clock_gettime, CLOCK_MONOTONIC, &raw mut time);
    time[0] * 1_000_000_000 + time[1]
}

/// When this machine was booted, s since the epoch, by the present clock.
pub fn boot_time() -> i64 {
    let (mut real, mut boot) = ([0u64; 2], [0u64; 2]);
    call!(nr::__NR_clock_gettime, CLOCK_REALTIME, &raw mut real);
    call!(nr::__NR_clock_gettime, CLOCK_BOOTTIME, &raw mut boot);
    real[0] as i64 - boot[0] as i64
}

/// Is the thread running on its alternate signal stack?
pub fn on_alternate_stack() -> bool {
    let mut stack = [0u64; 3];
    call!(nr::__NR_sigaltstack, 0, &raw mut stack) == 0 && stack[1] & SS_ONSTACK as u64 != 0
}

/// Sleeps on the low half of the barrier while it is `seen`, at most 50 ms: any
/// reader of the page could move waiters to another futex.
pub fn wait_on(barrier: &AtomicU64, seen: u64, bits: u32) {
    let slice = [0u64, 50_000_000];
    let until = now() + slice[1];
    let until = [until / 1_000_000_000, until % 1_000_000_000];
    // An absolute time of CLOCK_MONOTONIC; the low half is the first on little-endian machines.
    call!(
        nr::__NR_futex,
        barrier.as_ptr(),
        FUTEX_WAIT_BITSET,
        seen as u32,
        &raw const until,
        0,
        bits
    );
}

/// Registers for the freezer's membarrier; false: announce by a locked store.
pub fn register_membarrier() -> bool {
    call!(nr::__NR_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0
}

/// Eight random bytes, or what the clock and the stack give.
pub fn random() -> u64 {
    let mut bytes = 0u64;
    if call!(nr::__NR_getrandom, &raw mut bytes, size_of::<u64>(), GRND_NONBLOCK) == 8 {
        return bytes;
    }
    now() ^ (&raw const bytes as u64).rotate_left(32) ^ (pid() as u64) << 48
}

/// Ends the process at once.
pub fn die() -> ! {
    /// As a shell shows a death by SIGABRT.
    const ABORTED: i32 = 128 + 6;
    loop {
        call!(nr::__NR_exit_group, ABORTED);
    }
}
