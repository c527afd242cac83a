//! What a call does to the table, and what its entries mean for the section.

use super::entry::{
    FOR_LIFE, GUARDS, INHERITED, JUDGED, KERNEL_TOO, LOCKS, Lock, LockEntry, LockKind, OUTSIDE,
    ROOT_LEFT, SMALL,
};
use crate::abi::shared;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// How often the table is counted anew because locks were entered meanwhile.
const LOOKS: usize = 100;

/// What stands for no descriptor.
const NO_FD: i32 = -1;

/// The table was full: a lock is held that is not in it.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull(pub bool);

shared! {
    /// The table as it lies in the region.
    #[repr(C)]
    pub struct LockTable {
        /// A bit for each place that is somebody's. It is set before the place is filled, and
        /// cleared when it is empty again: so nobody else fills it in between, and a place that
        /// holds a lock always has its bit. Nearly all processes use one or two places, and look
        /// at no other.
        taken: AtomicU64,
        /// How often a lock was entered. A look during which none was has missed none: a lock that
        /// moves to another place is entered there before it is gone from here.
        entered: AtomicU64,
        entries: [LockEntry; LOCKS],
    }
}

const _: () = assert!(LOCKS == u64::BITS as usize);

impl LockTable {
    /// The locks that stand in it, whatever its owner says of its places: what a freezer reads.
    pub fn locks(&self) -> impl Iterator<Item = Lock> + '_ {
        self.entries.iter().filter_map(LockEntry::get)
    }
}

/// The places whose bits are set.
fn places(table: &LockTable, bits: u64) -> impl Iterator<Item = (u32, &LockEntry)> {
    let mut left = bits;
    core::iter::from_fn(move || {
        let at = left.trailing_zeros();
        let place = table.entries.get(at as usize)?;
        left &= left - 1;
        Some((at, place))
    })
}

/// The table, for the process whose it is.
///
/// Operations change entries only; what follows for the section is counted
/// afresh by [`Table::count`]. Counting up and down instead would drift for ever
/// once two threads, or a signal handler, had crossed.
#[derive(Clone, Copy)]
pub struct Table<'a>(pub &'a LockTable);

impl<'a> Table<'a> {
    fn taken(self) -> impl Iterator<Item = (u32, &'a LockEntry)> + use<'a> {
        places(self.0, self.0.taken.load(Acquire))
    }

    /// The locks held now.
    pub fn locks(self) -> impl Iterator<Item = Lock> + use<'a> {
        self.taken().filter_map(|(_, place)| place.get())
    }

    /// How many locks count for the section: each POSIX range and lock file,
    /// each open file description once, however many descriptors it has.
    pub fn count(self) -> u16 {
        for _ in 0..LOOKS {
            let before = self.0.entered.load(Acquire);
            let count = self.count_once();
            if self.0.entered.load(Acquire) == before {
                return count;
            }
        }
        // Others take locks without end: something is held.
        self.count_once().max(1)
    }

    /// Its room is on the stack here only: hooks need little.
    #[inline(never)]
    fn count_once(self) -> u16 {
        let (mut count, mut groups, mut known) = (0, [0; LOCKS], 0);
        // Each place is read once: what moves meanwhile must not hide behind itself.
        for lock in self.locks().filter(Lock::counts) {
            if !matches!(lock.kind, LockKind::Posix | LockKind::Dot) {
                if groups.iter().take(known).any(|group| *group == lock.group) {
                    continue;
                }
                groups.iter_mut().skip(known).take(1).for_each(|group| *group = lock.group);
                known += 1;
            }
            count += 1;
        }
        count
    }

    /// Is nothing at all held?
    pub fn is_empty(self) -> bool {
        self.locks().next().is_none()
    }

    fn add(self, lock: &Lock) -> TableFull {
        TableFull(self.enter(lock).is_none())
    }

    /// The bit of the place that it was put in; none: the table is full.
    fn enter(self, lock: &Lock) -> Option<u64> {
        let mut taken = self.0.taken.load(Relaxed);
        while let Some((at, place)) = places(self.0, !taken).next() {
            let bit = 1 << at;
            taken = self.0.taken.fetch_or(bit, Acquire);
            if taken & bit == 0 {
                place.fill(lock);
                self.0.entered.fetch_add(1, AcqRel);
                return Some(bit);
            }
        }
        None
    }

    /// Of two that free the same place only one gives it back: that one is told true.
    fn free(self, at: u32, place: &LockEntry, filled: u32) -> bool {
        let emptied = place.empty(filled);
        if emptied {
            self.0.taken.fetch_and(!(1 << at), Release);
        }
        emptied
    }

    /// True: some were.
    fn remove(self, gone: impl Fn(&Lock) -> bool) -> bool {
        let mut some = false;
        for (at, place) in self.taken() {
            if let Some((lock, filled)) = place.get_filled()
                && gone(&lock)
            {
                some |= self.free(at, place, filled);
            }
        }
        some
    }

    /// fcntl or lockf has set (`Some(guards)`) or removed (`None`) a lock on a range.
    pub fn posix_lock(self, what: Option<bool>, lock: Lock) -> TableFull {
        let Lock { dev, ino, .. } = lock;
        let same = |held: &Lock| held.kind == LockKind::Posix && held.dev == dev && held.ino == ino;
        let new = what.map(|guards| {
            let flags = if guards { GUARDS } else { 0 } | lock.flags & SMALL;
            Lock { kind: LockKind::Posix, flags, ..lock }
        });
        self.replace(new, same, lock.start, lock.end)
    }

    /// Takes this range out of such locks, and enters another for it. The other first: a count in
    /// between, by another thread or by a signal handler, must not find that nothing is held.
    fn replace(
        self,
        new: impl IntoIterator<Item = Lock, IntoIter: Clone>,
        such: impl Fn(&Lock) -> bool,
        start: u64,
        end: u64,
    ) -> TableFull {
        let new = new.into_iter();
        let mut own = 0u64;
        let mut all = true;
        for lock in new.clone() {
            match self.enter(&lock) {
                Some(bit) => own |= bit,
                None => all = false,
            }
        }
        let mut lost = self.cut(own, &such, start, end);
        if !all {
            // In a full table there is room now: all of them anew, once each.
            self.cut(0, &such, start, end);
            lost |= new.fold(false, |lost, lock| lost | self.add(&lock).0);
        }
        TableFull(lost)
    }

    /// Takes this range out of such locks but for those in the places of `own`; what is left of them
    /// on either side stays. True: the table was full.
    fn cut(self, own: u64, such: impl Fn(&Lock) -> bool, start: u64, end: u64) -> bool {
        let mut lost = false;
        for (at, place) in places(self.0, self.0.taken.load(Acquire) & !own) {
            let Some((held, filled)) = place.get_filled() else { continue };
            let apart = held.start > end || start > held.end;
            if apart || !such(&held) {
                continue;
            }
            let left = (held.start < start).then(|| Lock { end: start - 1, ..held });
            let right = (held.end > end).then(|| Lock { start: end + 1, ..held });
            // What is left comes before the whole goes. (Such a place is not among those that are
            // gone through, or is apart.)
            let pieces = [left, right].map(|piece| piece.map(|piece| (piece, self.enter(&piece))));
            let ended = self.free(at, place, filled);
            for (piece, entered) in pieces.into_iter().flatten() {
                match entered {
                    // Another has ended the whole meanwhile, and these with it.
                    Some(bit) if !ended => self.remove_at(bit, &piece),
                    None if ended => lost |= self.add(&piece).0,
                    _ => {}
                }
            }
        }
        lost
    }

    /// Removes this lock from this place.
    fn remove_at(self, bit: u64, lock: &Lock) {
        for (at, place) in places(self.0, bit) {
            if let Some((held, filled)) = place.get_filled()
                && held == *lock
            {
                self.free(at, place, filled);
            }
        }
    }

    /// flock, or an OFD lock on a range, was set or removed through `lock.fd`.
    ///
    /// Each descriptor of the description that is known has entries of its own.
    pub fn description_lock(self, what: Option<bool>, lock: Lock) -> TableFull {
        let (mut known, mut highest) = (None, 0);
        for held in self.locks() {
            highest = highest.max(held.group);
            if held.kind == lock.kind && held.fd == lock.fd {
                known = Some(held.group);
            }
        }
        let flags = if what == Some(true) { GUARDS } else { 0 } | lock.flags & SMALL;
        let Some(group) = known else {
            // The first lock of this description, or one that was not known.
            let new = Lock { flags, group: highest.wrapping_add(1), ..lock };
            return if what.is_some() { self.add(&new) } else { TableFull(false) };
        };
        let same = |held: &Lock| held.kind == lock.kind && held.group == group;
        if what.is_none() {
            return self.replace(None, same, lock.start, lock.end);
        }
        // Whoever took it before: with this call it is this process's own.
        let mut fds = [NO_FD; LOCKS];
        for held in self.locks().filter(same) {
            let room = fds.iter_mut().find(|fd| **fd == NO_FD || **fd == held.fd);
            room.into_iter().for_each(|fd| *fd = held.fd);
        }
        let held_by = fds.into_iter().take_while(|fd| *fd != NO_FD);
        self.replace(
            held_by.map(|fd| Lock { flags, group, fd, ..lock }),
            same,
            lock.start,
            lock.end,
        )
    }

    /// A lock file was made.
    pub fn dotlock(self, lock: Lock) -> TableFull {
        // It was just made.
        let flags = GUARDS | JUDGED | SMALL | lock.flags & OUTSIDE;
        self.add(&Lock { kind: LockKind::Dot, flags, fd: NO_FD, ..lock })
    }

    /// A lock file is gone from under its name. True: it was in the table.
    pub fn dotlock_gone(self, dev: u64, ino: u64) -> bool {
        self.remove(|held| held.kind == LockKind::Dot && held.dev == dev && held.ino == ino)
    }

    /// The lock files, inherited ones too.
    pub fn lock_files(self) -> impl Iterator<Item = Lock> + use<'a> {
        self.locks().filter(|lock| lock.kind == LockKind::Dot)
    }

    /// The process leaves its root: the names of its lock files lead there no more.
    pub fn root_left(self) {
        for (_, place) in self.taken() {
            if place.get().is_some_and(|lock| lock.kind == LockKind::Dot) {
                place.flag(ROOT_LEFT);
            }
        }
    }

    /// Does a kernel lock of this process's own that guards writing lie on this file?
    pub fn is_kernel_locked(self, dev: u64, ino: u64) -> bool {
        let same = |lock: &Lock| lock.kind != LockKind::Dot && (lock.dev, lock.ino) == (dev, ino);
        self.locks().any(|lock| same(&lock) && lock.counts())
    }

    /// The owner of this lock file has locked it through the kernel too. True: there is such
    /// a lock file.
    pub fn locked_by_kernel(self, dev: u64, ino: u64) -> bool {
        let mut some = false;
        for (_, place) in self.taken() {
            let is_it =
                |lock: Lock| lock.kind == LockKind::Dot && (lock.dev, lock.ino) == (dev, ino);
            if place.get().is_some_and(is_it) {
                place.flag(KERNEL_TOO);
                some = true;
            }
        }
        some
    }

    /// Lock files that were locked through the kernel too, and are not any more: those that are
    /// still there say everything themselves from now on.
    pub fn kernel_let_go(self, mut is_there: impl FnMut(&Lock) -> bool) {
        for (at, place) in self.taken() {
            let Some((lock, filled)) = place.get_filled() else { continue };
            if lock.flags & KERNEL_TOO == 0 || self.is_kernel_locked(lock.dev, lock.ino) {
                continue;
            }
            if is_there(&lock) {
                place.unflag(KERNEL_TOO);
            } else {
                self.free(at, place, filled);
            }
        }
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

    /// The place (its bit) where this very lock of a description stands already; 0: nowhere.
    pub fn place_of(self, lock: &Lock, guards: bool) -> u64 {
        let same = |held: Lock| {
            (held.kind, held.fd, held.start, held.end) == (lock.kind, lock.fd, lock.start, lock.end)
                && (held.dev, held.ino) == (lock.dev, lock.ino)
                && (held.flags & GUARDS != 0) == guards
        };
        self.taken().find(|(_, place)| place.get().is_some_and(same)).map_or(0, |(at, _)| 1 << at)
    }

    /// Of the locks of this descriptor's description only those in these places are held still.
    pub fn only(self, fd: i32, held_still: u64) {
        for (at, place) in places(self.0, self.0.taken.load(Acquire) & !held_still) {
            if let Some((lock, filled)) = place.get_filled()
                && lock.fd == fd
                && matches!(lock.kind, LockKind::Flock | LockKind::Ofd)
            {
                self.free(at, place, filled);
            }
        }
    }

    /// All descriptors from `first` to `last` were closed.
    pub fn closed_range(self, first: i32, last: i32) {
        self.remove(|held| held.kind != LockKind::Dot && (first..=last).contains(&held.fd));
    }

    /// Compares counting locks with the patterns of locks held for life, once each.
    pub fn judge(self, mut for_life: impl FnMut(&Lock) -> bool) {
        for (_, place) in self.taken() {
            let Some(lock) = place.get() else { continue };
            if lock.counts() && lock.flags & JUDGED == 0 {
                place.flag(if for_life(&lock) { JUDGED | FOR_LIFE } else { JUDGED });
            }
        }
    }

    /// The locks on this descriptor came with it over fork and exec: another process
    /// took them.
    pub fn inherited(self, fd: i32) {
        for (_, place) in self.taken() {
            let came =
                |lock: &Lock| lock.fd == fd && matches!(lock.kind, LockKind::Flock | LockKind::Ofd);
            if place.get().is_some_and(|lock| came(&lock)) {
                place.flag(INHERITED);
            }
        }
    }

    /// Takes over, in a child, what came with the fork: flock and OFD locks, and the lock
    /// files, which may be there when the parent is gone.
    /// They are its parent's: they give the child no right to pass.
    pub fn inherit(self, parent: Table<'_>) -> TableFull {
        let mut lost = false;
        for lock in parent.locks() {
            if lock.kind != LockKind::Posix {
                lost |= self.add(&Lock { flags: lock.flags | INHERITED, ..lock }).0;
            }
        }
        TableFull(lost)
    }
}
