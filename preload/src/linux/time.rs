//! The clock, and waiting.

use super::call::call;
use super::confined;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use core::sync::atomic::{AtomicU64, AtomicUsize};
use gate::entry::BlindSleep;
use linux_raw_sys::errno::{EAGAIN, EINTR, ETIMEDOUT};
use linux_raw_sys::general as nr;
use linux_raw_sys::general::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME, CLOCK_REALTIME_COARSE,
    FUTEX_WAIT_BITSET,
};

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// The longest sleep in one piece: any reader of the page could move waiters to another futex.
pub const SLICE: u64 = 50 * MILLISECOND;
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

/// What came of a wait.
pub enum Rest {
    /// It is over, for whatever reason.
    Awake,
    /// That of a process without a clock: this moment has come.
    CameTo(u64),
    /// So long it was at least meant to be, ns.
    Slept(u64),
    /// There is nothing to wait by, neither a clock nor a sleep.
    Impossible,
}

/// Waits on the low half of the barrier while it is `seen`, for a slice at most, and not long
/// beyond its deadline. Without a clock as `blind` says.
pub fn wait_on(barrier: &AtomicU64, seen: u64, bits: u32, blind: BlindSleep) -> Rest {
    if confined::by_itself() {
        return match coarse() {
            Some(_) => spin(barrier, seen),
            None => Rest::Impossible,
        };
    }
    let now = against_deadline();
    // Absolute times of CLOCK_MONOTONIC.
    let moment = match now {
        Some(now) => (now + SLICE).min(seen.max(now).saturating_add(COARSE_STEP)),
        None => blind.until,
    };
    let until = timespec(moment);
    let until = &raw const until;
    // The low half is the first on little-endian machines.
    let word = barrier.as_ptr();
    let by_futex = call!(nr::__NR_futex, word, FUTEX_WAIT_BITSET, seen as u32, until, 0, bits);
    if is_rest(by_futex) {
        return came_to(by_futex == -(ETIMEDOUT as isize), now, moment);
    }
    let nap = timespec(NAP);
    let nap = &raw const nap;
    match now {
        Some(_) if is_rest(call!(nr::__NR_nanosleep, nap, 0)) => Rest::Awake,
        Some(_) => spin(barrier, seen),
        None => sleep_blindly(blind),
    }
}

/// Without clock and futex: by the call that modern libcs sleep with, or by the old one.
fn sleep_blindly(blind: BlindSleep) -> Rest {
    let until = timespec(blind.until);
    let until = &raw const until;
    let by_moment = call!(nr::__NR_clock_nanosleep, CLOCK_MONOTONIC, nr::TIMER_ABSTIME, until, 0);
    if is_rest(by_moment) {
        return came_to(by_moment == 0, None, blind.until);
    }
    let time = timespec(blind.lasts);
    match is_rest(call!(nr::__NR_nanosleep, &raw const time, 0)) {
        true => Rest::Slept(blind.lasts),
        false => Rest::Impossible,
    }
}

/// Lets another thread of this process come to its end with what takes it microseconds.
pub fn short_rest() {
    if confined::at_all() {
        for _ in 0..SPINS {
            core::hint::spin_loop();
        }
        return;
    }
    let some = timespec(MILLISECOND / 10);
    call!(nr::__NR_nanosleep, &raw const some, 0);
}

fn came_to(has_come: bool, now: Option<u64>, moment: u64) -> Rest {
    if has_come && now.is_none() { Rest::CameTo(moment) } else { Rest::Awake }
}

/// Is this what a wait returns that did its work? A filter returns others.
fn is_rest(result: isize) -> bool {
    result == 0 || [EAGAIN, EINTR, ETIMEDOUT].iter().any(|errno| result == -(*errno as isize))
}

fn spin(word: &AtomicU64, seen: u64) -> Rest {
    for _ in 0..SPINS {
        if word.load(Acquire) != seen {
            break;
        }
        core::hint::spin_loop();
    }
    Rest::Awake
}
