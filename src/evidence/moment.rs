//! When the watch began, as the times of files tell it.

use crate::linux::clock;

/// A moment on the wall clock, and on one that nobody can set, ns.
#[derive(Clone, Copy, Default)]
pub struct Moment {
    wall: u64,
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

    /// Is a file's time of change one between this moment and now? Where the wall clock was set meanwhile it is one
    /// by the clock as it was before, or by the clock as it is. One from the future is of a clock that was ahead, as
    /// some machines' are until they ask for the time.
    pub fn is_before(self, changed_at: u64, now: Moment) -> bool {
        let passed = now.monotonic.saturating_sub(self.monotonic);
        let without_step = self.wall.saturating_add(passed);
        let by = |from: u64, until: u64| from < changed_at && changed_at <= until;
        if without_step.abs_diff(now.wall) <= CLOCK_SLACK_NS {
            return by(self.wall, now.wall);
        }
        by(self.wall, without_step) || by(now.wall.saturating_sub(passed), now.wall)
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
            assert!(before.is_before(crate::linux::fanotify::changed_at(&stat), Moment::now()));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_change_is_told_from_an_earlier_one_also_where_the_clock_was_set() {
        const SECOND: u64 = 1_000_000_000;
        let at = |wall, monotonic| Moment { wall: wall * SECOND, monotonic: monotonic * SECOND };
        let armed = at(1_000, 50);
        let changed = |second: u64, now| armed.is_before(second * SECOND, now);
        let later = at(1_010, 60);
        assert!(changed(1_001, later) && changed(1_010, later));
        assert!(!changed(1_000, later) && !changed(999, later), "before");
        assert!(!changed(1_011, later), "from the future");
        let set_back = at(500, 60);
        assert!(changed(1_005, set_back), "before it was set");
        assert!(changed(495, set_back) && changed(500, set_back), "and after that");
        assert!(!changed(1_000, set_back) && !changed(490, set_back) && !changed(501, set_back));
        let set_forward = at(5_000, 60);
        assert!(changed(1_005, set_forward) && changed(4_995, set_forward));
        assert!(!changed(1_000, set_forward) && !changed(3_000, set_forward));
    }
}
