//! What a call does to the table, and what its entries mean for the section.

use super::entry::{FOR_LIFE, GUARDS, INHERITED, JUDGED, LOCKS, Lock, LockEntry, LockKind};

/// The table was full: a lock is held that is not in it.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull(pub bool);

/// The table, wherever it lies.
///
/// Operations change entries only; what follows for the section is counted
/// afresh by [`Table::count`]. Counting up and down instead would drift for ever
/// once two threads, or a signal handler, had crossed.
#[derive(Clone, Copy)]
pub struct Table<'a>(pub &'a [LockEntry; LOCKS]);

impl<'a> Table<'a> {
    /// The locks held now.
    pub fn locks(self) -> impl Iterator<Item = Lock> + use<'a> {
        self.0.iter().filter_map(LockEntry::get)
    }

    /// How many locks count for the section: each POSIX range and lock file,
    /// each open file description once, however many descriptors it has.
    pub fn count(self) -> u16 {
        let first_of_group = |at: usize, lock: &Lock| {
            matches!(lock.kind, LockKind::Posix | LockKind::Dot)
                || !self.0[..at].iter().filter_map(LockEntry::get).any(|other| {
                    other.counts() && other.kind == lock.kind && other.group == lock.group
                })
        };
        let places = self.0.iter().enumerate();
        let held = places.filter_map(|(at, place)| place.get().map(|lock| (at, lock)));
        held.filter(|(at, lock)| lock.counts() && first_of_group(*at, lock)).count() as u16
    }

    /// Is nothing at all held?
    pub fn is_empty(self) -> bool {
        self.locks().next().is_none()
    }

    fn add(self, lock: &Lock) -> TableFull {
        TableFull(!self.0.iter().any(|place| place.claim(lock)))
    }

    fn remove(self, gone: impl Fn(&Lock) -> bool) {
        for place in self.0 {
            if place.get().is_some_and(|lock| gone(&lock)) {
                place.free();
            }
        }
    }

    /// fcntl or lockf has set (`Some(guards)`) or removed (`None`) a lock on a range.
    pub fn posix_lock(self, what: Option<bool>, lock: Lock) -> TableFull {
        let Lock { dev, ino, start, end, .. } = lock;
        let mut lost = false;
        for place in self.0 {
            let Some(held) = place.get() else { continue };
            let apart = held.start > end || start > held.end;
            if held.kind != LockKind::Posix || held.dev != dev || held.ino != ino || apart {
                continue;
            }
            // What is left of it on either side stays.
            if held.start < start {
                lost |= self.add(&Lock { end: start - 1, ..held }).0;
            }
            if held.end > end {
                lost |= self.add(&Lock { start: end + 1, ..held }).0;
            }
            place.free();
        }
        if let Some(guards) = what {
            let flags = if guards { GUARDS } else { 0 };
            lost |= self.add(&Lock { kind: LockKind::Posix, flags, ..lock }).0;
        }
        TableFull(lost)
    }

    /// flock, or an OFD lock on a range, was set or removed through `lock.fd`.
    ///
    /// OFD ranges are kept as they were asked for; unlocking more than was locked
    /// ends them, unlocking a part of one does not (the section then lasts until
    /// the close, which is the safe side).
    pub fn description_lock(self, what: Option<bool>, lock: Lock) -> TableFull {
        let same_kind = |held: &Lock| held.kind == lock.kind;
        let group = self.locks().filter(same_kind).find(|held| held.fd == lock.fd);
        let group = group.map(|held| held.group);
        let covered = |held: &Lock| {
            same_kind(held)
                && group == Some(held.group)
                && (held.kind == LockKind::Flock
                    || (lock.start <= held.start && held.end <= lock.end))
        };
        let Some(guards) = what else {
            self.remove(covered);
            return TableFull(false);
        };
        let mut known = false;
        for place in self.0 {
            // A conversion: all descriptors of the description show the new mode.
            if place.get().is_some_and(|held| covered(&held)) {
                place.set_guards(guards);
                known = true;
            }
        }
        if known {
            return TableFull(false);
        }
        let highest = self.locks().map(|held| held.group).max().unwrap_or(0);
        let group = group.unwrap_or(highest.wrapping_add(1));
        let flags = if guards { GUARDS } else { 0 };
        self.add(&Lock { flags, group, ..lock })
    }

    /// A lock file was made.
    pub fn dotlock(self, lock: Lock) -> TableFull {
        self.add(&Lock { kind: LockKind::Dot, flags: GUARDS | JUDGED, fd: -1, ..lock })
    }

    /// A lock file is gone from under its name.
    pub fn dotlock_gone(self, dev: u64, ino: u64) {
        self.remove(|held| held.kind == LockKind::Dot && held.dev == dev && held.ino == ino);
    }

    /// `new` is now another descriptor of what `old` is.
    pub fn duplicated(self, old: i32, new: i32) -> TableFull {
        let mut lost = false;
        for held in self.locks() {
            if held.fd == old && matches!(held.kind, LockKind::Flock | LockKind::Ofd) {
                lost |= self.add(&Lock { fd: new, ..held }).0;
            }
        }
        TableFull(lost)
    }

    /// A descriptor was closed; `file` is what it was (device, inode), where
    /// that is known.
    pub fn closed(self, fd: i32, file: Option<(u64, u64)>) {
        self.remove(|held| match (held.kind, file) {
            (LockKind::Posix, Some(file)) => (held.dev, held.ino) == file,
            (LockKind::Dot, _) => false,
            _ => held.fd == fd,
        });
    }

    /// All descriptors from `first` to `last` were closed.
    pub fn closed_range(self, first: i32, last: i32) {
        self.remove(|held| held.kind != LockKind::Dot && (first..=last).contains(&held.fd));
    }

    /// Compares counting locks with the patterns of locks held for life, once each.
    pub fn judge(self, mut for_life: impl FnMut(&Lock) -> bool) {
        for place in self.0 {
            let Some(lock) = place.get() else { continue };
            if lock.counts() && lock.flags & JUDGED == 0 {
                place.flag(if for_life(&lock) { JUDGED | FOR_LIFE } else { JUDGED });
            }
        }
    }

    /// Takes locks out of the count that turn out to be held for life.
    pub fn exclude(self, mut for_life: impl FnMut(&Lock) -> bool) {
        for place in self.0 {
            let Some(lock) = place.get() else { continue };
            if lock.counts() && lock.kind != LockKind::Dot && for_life(&lock) {
                place.flag(JUDGED | FOR_LIFE);
            }
        }
    }

    /// The locks on this descriptor came with it over fork and exec: another process
    /// took them.
    pub fn inherited(self, fd: i32) {
        for place in self.0 {
            let came =
                |lock: &Lock| lock.fd == fd && matches!(lock.kind, LockKind::Flock | LockKind::Ofd);
            if place.get().is_some_and(|lock| came(&lock)) {
                place.flag(INHERITED);
            }
        }
    }

    /// Takes over, in a child, the flock and OFD locks that came with the fork.
    /// They are its parent's: they give the child no right to pass.
    pub fn inherit(self, parent: Table<'_>) -> TableFull {
        let mut lost = false;
        for lock in parent.locks() {
            if matches!(lock.kind, LockKind::Flock | LockKind::Ofd) {
                lost |= self.add(&Lock { flags: lock.flags | INHERITED, ..lock }).0;
            }
        }
        TableFull(lost)
    }
}
