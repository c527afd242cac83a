//! The locks of one process, and how each of them ends.
//!
//! The table lies in the region, so that the freezer sees which lock is whose;
//! only the process itself writes it, without locks, also from signal handlers.
//! A place is claimed by compare-and-swap and published by its state.
//!
//! | kind | belongs to | ends at |
//! |---|---|---|
//! | [`LockKind::Posix`] | process and inode | unlock of the range; first close of *any* descriptor of the inode |
//! | [`LockKind::Flock`], [`LockKind::Ofd`] | open file description | unlock; last close of the description |
//! | [`LockKind::Dot`] | a file with a lock-like name | its unlink, or rename over its target |

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Places in the table.
pub const LOCKS: usize = 64;

/// What kind of lock an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LockKind {
    /// fcntl F_SETLK, lockf.
    Posix = 1,
    /// flock.
    Flock = 2,
    /// fcntl F_OFD_SETLK.
    Ofd = 3,
    /// A lock file made by exclusive create or by link.
    Dot = 4,
}

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const USED: u32 = 2;

/// Guards writing: counts for the section (an exclusive lock, or a flock shared
/// on a descriptor open for writing).
pub const GUARDS: u32 = 1 << 8;
/// Was compared with the profile's patterns of locks held for life.
pub const JUDGED: u32 = 1 << 9;
/// A lock held for life: does not count.
pub const FOR_LIFE: u32 = 1 << 10;
/// Came with a fork: its owner is the parent; gives no right to pass.
pub const INHERITED: u32 = 1 << 11;

/// One lock.
#[repr(C)]
pub struct LockEntry {
    /// FREE, CLAIMED or USED in the low bits, then flags, then the kind.
    state: AtomicU32,
    fd: AtomicI32,
    /// Entries of one open file description have the same group.
    group: AtomicU32,
    _pad: u32,
    dev: AtomicU64,
    ino: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
    since: AtomicU64,
}

const _: () = assert!(core::mem::size_of::<LockEntry>() * LOCKS == 4096 - 512);

/// A lock as it is read from the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// Its kind.
    pub kind: LockKind,
    /// `GUARDS | JUDGED | FOR_LIFE | INHERITED`.
    pub flags: u32,
    /// Descriptor it was taken on (-1: none).
    pub fd: i32,
    /// Open file description it belongs to, as a number of this process's own.
    pub group: u32,
    /// Device of the locked file.
    pub dev: u64,
    /// Inode of the locked file.
    pub ino: u64,
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX`: to the end of the file.
    pub end: u64,
    /// CLOCK_MONOTONIC ns when it was taken.
    pub since: u64,
}

impl Lock {
    /// Does it count for the section?
    pub fn counts(&self) -> bool {
        self.flags & GUARDS != 0 && self.flags & (FOR_LIFE | INHERITED) == 0
    }
}

impl LockEntry {
    /// The lock in this place, if there is one.
    pub fn get(&self) -> Option<Lock> {
        let state = self.state.load(Ordering::Acquire);
        if state & 0xff != USED {
            return None;
        }
        let kind = match state >> 24 {
            1 => LockKind::Posix,
            2 => LockKind::Flock,
            3 => LockKind::Ofd,
            4 => LockKind::Dot,
            _ => return None,
        };
        Some(Lock {
            kind,
            flags: state & 0x00ff_ff00,
            fd: self.fd.load(Ordering::Relaxed),
            group: self.group.load(Ordering::Relaxed),
            dev: self.dev.load(Ordering::Relaxed),
            ino: self.ino.load(Ordering::Relaxed),
            start: self.start.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
            since: self.since.load(Ordering::Relaxed),
        })
    }

    /// Fills the place if it is free.
    fn claim(&self, lock: &Lock) -> bool {
        if self.state.compare_exchange(FREE, CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        self.fd.store(lock.fd, Ordering::Relaxed);
        self.group.store(lock.group, Ordering::Relaxed);
        self.dev.store(lock.dev, Ordering::Relaxed);
        self.ino.store(lock.ino, Ordering::Relaxed);
        self.start.store(lock.start, Ordering::Relaxed);
        self.end.store(lock.end, Ordering::Relaxed);
        self.since.store(lock.since, Ordering::Relaxed);
        let state = USED | lock.flags | (lock.kind as u32) << 24;
        self.state.store(state, Ordering::Release);
        true
    }

    fn free(&self) {
        self.state.store(FREE, Ordering::Release);
    }

    fn flag(&self, flags: u32) {
        self.state.fetch_or(flags, Ordering::AcqRel);
    }

    fn set_guards(&self, guards: bool) {
        if guards {
            self.state.fetch_or(GUARDS, Ordering::AcqRel);
        } else {
            self.state.fetch_and(!GUARDS, Ordering::AcqRel);
        }
    }
}

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
    /// OFD ranges are kept as they were given; unlocking more than was locked
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

    /// The locks on this descriptor came with it over fork and exec: somebody else
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> std::boxed::Box<[LockEntry; LOCKS]> {
        // SAFETY: entries are integers and atomics; all zero bytes are free places.
        unsafe { std::boxed::Box::new_zeroed().assume_init() }
    }

    fn lock(kind: LockKind, fd: i32, ino: u64, start: u64, end: u64) -> Lock {
        Lock { kind, flags: 0, fd, group: 0, dev: 1, ino, start, end, since: 0 }
    }

    const ALL: u64 = u64::MAX;

    #[test]
    fn a_partial_unlock_ends_nothing_while_a_range_is_left() {
        let table = table();
        let t = Table(&table);
        assert_eq!(t.posix_lock(Some(true), lock(LockKind::Posix, 3, 7, 0, 99)), TableFull(false));
        assert_eq!(t.posix_lock(None, lock(LockKind::Posix, 3, 7, 40, 59)), TableFull(false));
        assert_eq!(t.count(), 2, "two pieces are left");
        assert_eq!(t.posix_lock(None, lock(LockKind::Posix, 3, 7, 0, 39)), TableFull(false));
        assert_eq!(t.count(), 1);
        assert_eq!(t.posix_lock(None, lock(LockKind::Posix, 3, 7, 0, ALL)), TableFull(false));
        assert!(t.is_empty());
    }

    #[test]
    fn downgrading_to_a_read_lock_ends_the_guard() {
        let table = table();
        let t = Table(&table);
        let _ = t.posix_lock(Some(true), lock(LockKind::Posix, 3, 7, 0, ALL));
        let _ = t.posix_lock(Some(false), lock(LockKind::Posix, 3, 7, 0, ALL));
        assert_eq!(t.count(), 0);
        assert_eq!(t.locks().count(), 1, "the read lock is still known, for waiters");
    }

    #[test]
    fn posix_locks_end_at_the_first_close_of_any_descriptor_of_the_file() {
        let table = table();
        let t = Table(&table);
        let _ = t.posix_lock(Some(true), lock(LockKind::Posix, 3, 7, 0, ALL));
        t.closed(9, Some((1, 8)));
        assert_eq!(t.count(), 1);
        t.closed(9, Some((1, 7)));
        assert_eq!(t.count(), 0);
    }

    #[test]
    fn flock_ends_at_the_last_close_of_the_description() {
        let table = table();
        let t = Table(&table);
        let _ = t.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
        let _ = t.duplicated(3, 5);
        assert_eq!(t.count(), 1);
        t.closed(3, Some((1, 7)));
        assert_eq!(t.count(), 1, "descriptor 5 still holds it");
        t.closed(5, Some((1, 7)));
        assert_eq!(t.count(), 0);
    }

    #[test]
    fn unlocking_through_one_descriptor_unlocks_its_duplicates() {
        let table = table();
        let t = Table(&table);
        let _ = t.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
        let _ = t.duplicated(3, 5);
        let _ = t.description_lock(None, lock(LockKind::Flock, 5, 7, 0, ALL));
        assert!(t.is_empty());
    }

    #[test]
    fn two_descriptions_of_one_file_are_two_locks() {
        let table = table();
        let t = Table(&table);
        let _ = t.description_lock(Some(true), lock(LockKind::Ofd, 3, 7, 0, 9));
        let _ = t.description_lock(Some(true), lock(LockKind::Ofd, 4, 7, 10, 19));
        assert_eq!(t.count(), 2);
        t.closed(3, None);
        assert_eq!(t.count(), 1);
    }

    #[test]
    fn two_ranges_of_one_description_are_one_until_both_are_gone() {
        let table = table();
        let t = Table(&table);
        let _ = t.description_lock(Some(true), lock(LockKind::Ofd, 3, 7, 0, 9));
        let _ = t.description_lock(Some(true), lock(LockKind::Ofd, 3, 7, 10, 19));
        assert_eq!(t.count(), 1);
        let _ = t.description_lock(None, lock(LockKind::Ofd, 3, 7, 0, 9));
        assert_eq!(t.count(), 1);
        let _ = t.description_lock(None, lock(LockKind::Ofd, 3, 7, 0, ALL));
        assert_eq!(t.count(), 0);
    }

    #[test]
    fn converting_a_lock_counts_it_once_and_keeps_its_duplicates() {
        let table = table();
        let t = Table(&table);
        let _ = t.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
        let _ = t.duplicated(3, 5);
        let _ = t.description_lock(Some(false), lock(LockKind::Flock, 3, 7, 0, ALL));
        assert_eq!(t.count(), 0);
        let _ = t.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
        t.closed(3, None);
        let _ = t.posix_lock(Some(true), lock(LockKind::Posix, 3, 7, 0, ALL));
        let _ = t.posix_lock(Some(true), lock(LockKind::Posix, 3, 7, 0, ALL));
        assert_eq!(t.count(), 2);
    }

    #[test]
    fn a_lock_for_life_stops_counting_once_judged() {
        let table = table();
        let t = Table(&table);
        let _ = t.posix_lock(Some(true), lock(LockKind::Posix, 3, 7, 0, ALL));
        let _ = t.posix_lock(Some(true), lock(LockKind::Posix, 4, 8, 0, ALL));
        t.judge(|lock| lock.ino == 7);
        t.judge(|_| panic!("judged once only"));
        assert_eq!(t.count(), 1);
        t.closed(4, Some((1, 8)));
        assert_eq!(t.count(), 0);
    }

    #[test]
    fn inherited_locks_do_not_count_for_the_child() {
        let (parent, child) = (table(), table());
        let p = Table(&parent);
        let _ = p.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
        let _ = p.posix_lock(Some(true), lock(LockKind::Posix, 4, 8, 0, ALL));
        let c = Table(&child);
        let _ = c.inherit(p);
        assert_eq!(c.locks().count(), 1, "POSIX locks are not inherited");
        assert_eq!(c.count(), 0);
    }

    #[test]
    fn a_dotlock_ends_by_its_inode() {
        let table = table();
        let t = Table(&table);
        let _ = t.dotlock(lock(LockKind::Dot, -1, 7, 0, ALL));
        t.dotlock_gone(1, 8);
        assert_eq!(t.count(), 1, "somebody stole the name");
        t.dotlock_gone(1, 7);
        assert_eq!(t.count(), 0);
    }

    #[test]
    fn a_full_table_says_so() {
        let table = table();
        let t = Table(&table);
        for n in 0..LOCKS as u64 {
            assert_eq!(
                t.posix_lock(Some(true), lock(LockKind::Posix, 3, n, 0, ALL)),
                TableFull(false)
            );
        }
        assert_eq!(
            t.posix_lock(Some(true), lock(LockKind::Posix, 3, 999, 0, ALL)),
            TableFull(true)
        );
    }
}
