//! The clock, and waiting.

use super::call::call;
use super::confined;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use core::sync::atomic::{AtomicU64, AtomicUsize};
use linux_raw_sys::errno::{EAGAIN, EINTR, ETIMEDOUT};
use linux_raw_sys::general as nr;
use linux_raw_sys::general::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME, CLOCK_REALTIME_COARSE,
    FUTEX_WAIT, FUTEX_WAIT_BITSET,
};

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// The longest sleep in one piece: any reader of the page could move waiters to another futex.
const SLICE: u64 = 50 * MILLISECOND;
/// Where futex is refused.
const NAP: u64 = 10 * MILLISECOND;
/// The coarse clock may lie so far behind: a sleeper wakes up so late, and need not look twice.
const COARSE_STEP: u64 = 5 * MILLISECOND;
/// How often the word is looked at where no sleep is possible, before the clock is: some 0.1 ms.
const SPINS: u32 = 2000;

type Timespec = [u64; 2];

fn timespec(ns: u64) -> Timespec {
    [ns / SECOND, ns % SECOND]
}

/// `__vdso_clock_gettime`; 0: the kernel gives none.
static VDSO_CLOCK: AtomicUsize = AtomicUsize::new(0);

/// The vDSO's clock was found.
pub fn use_vdso(clock_gettime: usize) {
    VDSO_CLOCK.store(clock_gettime, Relaxed);
}

/// CLOCK_MONOTONIC in ns, as it was at the last tick: never ahead of the exact one. It is read
/// from memory: no filter forbids it, and it needs no time stamp counter, which strict mode
/// takes away.
fn coarse() -> Option<u64> {
    let address = VDSO_CLOCK.load(Relaxed);
    if address == 0 {
        return None;
    }
    let mut time: Timespec = [0; 2];
    // SAFETY: `int __vdso_clock_gettime(clockid_t, struct timespec *)`, which the kernel has
    // mapped into this process; the structure is `time`.
    let result = unsafe {
        let clock: unsafe extern "C" fn(u32, *mut Timespec) -> i32 = core::mem::transmute(address);
        clock(CLOCK_MONOTONIC_COARSE, &raw mut time)
    };
    (result == 0).then_some(time[0] * SECOND + time[1])
}

/// CLOCK_MONOTONIC in ns: the system call itself, which no other preload replaces.
fn exact() -> Option<u64> {
    let mut time: Timespec = [0; 2];
    let result = call!(nr::__NR_clock_gettime, CLOCK_MONOTONIC, &raw mut time);
    (result == 0).then_some(time[0] * SECOND + time[1])
}

/// The time that a deadline is held against; none: no clock can be read.
pub fn against_deadline() -> Option<u64> {
    coarse().or_else(|| if confined::by_itself() { None } else { exact() })
}

/// When something happened, CLOCK_MONOTONIC ns, never twice the same; 0: no clock.
pub fn now() -> u64 {
    /// Tells what happens between two ticks of the coarse clock.
    static EVENTS: AtomicU64 = AtomicU64::new(0);
    if confined::at_all() {
        let event = EVENTS.fetch_add(1, Relaxed) % MILLISECOND;
        return coarse().map_or(0, |time| time + event);
    }
    exact().or_else(coarse).unwrap_or(0)
}

/// The time that files bear which are changed now: s and ns of CLOCK_REALTIME at the last tick.
pub fn coarse_real() -> (i64, i64) {
    let mut time: Timespec = [0; 2];
    call!(nr::__NR_clock_gettime, CLOCK_REALTIME_COARSE, &raw mut time);
    (time[0] as i64, time[1] as i64)
}

/// When this machine was booted, s since the epoch, by the present clock.
pub fn boot_time() -> i64 {
    let (mut real, mut boot): (Timespec, Timespec) = ([0; 2], [0; 2]);
    call!(nr::__NR_clock_gettime, CLOCK_REALTIME, &raw mut real);
    call!(nr::__NR_clock_gettime, CLOCK_BOOTTIME, &raw mut boot);
    real[0] as i64 - boot[0] as i64
}

/// Waits on the low half of the barrier while it is `seen`, for a slice at most, and not long
/// beyond its deadline. How long that was at least meant to be, ns; none: there is nothing to
/// wait by, neither a clock nor a sleep.
pub fn wait_on(barrier: &AtomicU64, seen: u64, bits: u32) -> Option<u64> {
    if confined::by_itself() {
        return coarse().map(|_| spin(barrier, seen));
    }
    let word = barrier.as_ptr();
    let now = against_deadline();
    let result = match now {
        // An absolute time of CLOCK_MONOTONIC; the low half is the first on little-endian machines.
        Some(now) => {
            let until = timespec((now + SLICE).min(seen.max(now).saturating_add(COARSE_STEP)));
            let until = &raw const until;
            call!(nr::__NR_futex, word, FUTEX_WAIT_BITSET, seen as u32, until, 0, bits)
        }
        None => {
            let slice = timespec(SLICE);
            call!(nr::__NR_futex, word, FUTEX_WAIT, seen as u32, &raw const slice, 0, 0)
        }
    };
    if is_rest(result) {
        return Some(SLICE);
    }
    // Without a clock the sleeps are what is counted, and each lasts a little too long.
    let nap = if now.is_some() { NAP } else { SLICE };
    let time = timespec(nap);
    if is_rest(call!(nr::__NR_nanosleep, &raw const time, 0)) {
        return Some(nap);
    }
    now.map(|_| spin(barrier, seen))
}

/// Is this what futex or nanosleep return that did their work? A filter returns others.
fn is_rest(result: isize) -> bool {
    result == 0 || [EAGAIN, EINTR, ETIMEDOUT].iter().any(|errno| result == -(*errno as isize))
}

fn spin(word: &AtomicU64, seen: u64) -> u64 {
    for _ in 0..SPINS {
        if word.load(Acquire) != seen {
            break;
        }
        core::hint::spin_loop();
    }
    0
}
