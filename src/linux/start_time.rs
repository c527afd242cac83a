//! When a process was started, on the wall clock.

use super::sys;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// From ticks since boot, as `/proc/PID/stat` has them, to ns since 1970 on the wall
/// clock as it stands now. (`btime` in `/proc/stat` is a whole second, too coarse to
/// order a start and the making of a page.)
pub fn wall_ns(ticks: u64) -> u64 {
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64);
    let rate = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100).max(1) as u64;
    let age = boot.saturating_sub(ticks * (1_000_000_000 / rate));
    sys::wall_ns().saturating_sub(age)
}
