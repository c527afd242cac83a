//! When the watch began, as the times of files tell it.

use crate::linux::clock;

/// A moment on the wall clock, and on one that nobody can set, ns.
#[derive(Clone, Copy, Default)]
pub struct Moment {
    /// The wall clock.
    pub wall: u64,
    monotonic: u64,
}

/// So much more or less may pass by the wall clock than by the other: it is never quite right, and both are
/// not read at once.
const CLOCK_SLACK_NS: u64 = 20_000_000;

/// The kernel writes down when a file was changed by the clock of its last tick (1 to 10 ms): after so long,
/// ns, that is surely not waited for any more.
const TICK_NS: u64 = 20_000_000;
const BETWEEN_LOOKS_NS: u64 = 200_000;

impl Moment {
    /// As it is now.
    pub fn now() -> Moment {
        let (wall, monotonic) = clock::both_ns();
        Moment { wall, monotonic }
    }

    /// Waits until whatever is changed from now on has a later time than this.
    pub fn is_over(self) {
        while clock::last_tick_ns() <= self.wall && clock::now_ns() < self.monotonic + TICK_NS {
            clock::sleep_ns(BETWEEN_LOOKS_NS);
        }
    }

    /// Was the wall clock set since?
    pub fn clock_was_set(self) -> bool {
        let now = Moment::now();
        let by_wall = now.wall as i128 - self.wall as i128;
        let by_other = now.monotonic as i128 - self.monotonic as i128;
        by_wall.abs_diff(by_other) > CLOCK_SLACK_NS as u128
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_changed_after_a_moment_has_a_later_time() {
        let path = std::env::temp_dir().join(format!("writegate-moment-{}", std::process::id()));
        for _ in 0..20 {
            let before = Moment::now();
            before.is_over();
            fs::write(&path, "x").unwrap();
            let stat = nix::sys::stat::stat(&path).unwrap();
            assert!(crate::linux::fanotify::changed_at(&stat) > before.wall);
            assert!(!before.clock_was_set());
        }
        fs::remove_file(&path).unwrap();
    }
}
