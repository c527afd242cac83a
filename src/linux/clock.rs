//! The kernel's clocks.

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use nix::unistd::{SysconfVar, sysconf};

const NS_PER_S: u64 = 1_000_000_000;

/// CLOCK_MONOTONIC, ns.
pub fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// For how long this thread was at work so far, ns.
pub fn at_work_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// CLOCK_REALTIME, ns.
pub fn wall_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> u64 {
    // It fails only for a clock that the kernel does not have.
    clock.now().map_or(0, |time| time.num_nanoseconds() as u64)
}

/// Sleeps; a signal may end it early.
pub fn sleep_ns(ns: u64) {
    let time = TimeSpec::nanoseconds(ns.min(i64::MAX as u64) as i64);
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &time);
}

/// A moment in ticks since boot (a start time in `/proc/PID/stat`) on the wall clock as it
/// stands now, ns. (`btime` in `/proc/stat` is a whole second, too coarse to order a start
/// and the making of a page.)
pub fn wall_ns_of_ticks(ticks: u64) -> u64 {
    let rate = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(1).max(1) as u64;
    let age = read(ClockId::CLOCK_BOOTTIME).saturating_sub(ticks * (NS_PER_S / rate));
    wall_ns().saturating_sub(age)
}

/// How often both clocks are read: on a busy machine much time may pass in between.
const READS: usize = 8;

/// The wall clock and CLOCK_MONOTONIC, ns, of nearly one moment.
pub fn both_ns() -> (u64, u64) {
    let both = || {
        let (before, wall, after) = (now_ns(), wall_ns(), now_ns());
        (after.saturating_sub(before), wall, before)
    };
    let (_, wall, now) = (0..READS).map(|_| both()).min().unwrap_or_else(both);
    (wall, now)
}

/// The wall clock as it was at the last tick: by it the kernel writes down when a file was changed, ns.
pub fn last_tick_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME_COARSE)
}

/// A moment of CLOCK_MONOTONIC (ns) in ticks since boot.
pub fn ticks_of(monotonic_ns: u64) -> u64 {
    let rate = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(1).max(1) as u64;
    let both = || {
        let (before, boot, after) = (now_ns(), read(ClockId::CLOCK_BOOTTIME), now_ns());
        (after.saturating_sub(before), boot, before)
    };
    let nearest = (0..READS).map(|_| both()).min().unwrap_or_else(both);
    let (_, boot, now) = nearest;
    boot.saturating_sub(now.saturating_sub(monotonic_ns)) / (NS_PER_S / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_were_started_a_while_ago_and_a_sleep_takes_its_time() {
        let stat = crate::linux::procfs::stat(std::process::id() as i32).unwrap();
        let age = wall_ns().saturating_sub(wall_ns_of_ticks(stat.start));
        assert!(age < 3600 * NS_PER_S, "{age}");
        let begun = now_ns();
        sleep_ns(2_000_000);
        assert!(now_ns() - begun >= 2_000_000);
    }
}
