//! How each kind of lock ends.

use super::*;

fn table() -> std::boxed::Box<LockTable> {
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
fn ranges_of_a_description_grow_shrink_and_are_split_as_the_kernels_are() {
    let table = table();
    let t = Table(&table);
    let ofd = |start, end| lock(LockKind::Ofd, 3, 7, start, end);
    let _ = t.description_lock(Some(false), ofd(0, 9));
    let _ = t.description_lock(Some(true), ofd(0, ALL));
    let _ = t.description_lock(None, ofd(0, 9));
    assert_eq!(t.count(), 1, "all behind the tenth byte is locked still");
    let _ = t.description_lock(None, ofd(20, ALL));
    let _ = t.duplicated(3, 5);
    let _ = t.description_lock(Some(false), lock(LockKind::Ofd, 5, 7, 12, 13));
    let mut left: std::vec::Vec<_> =
        t.locks().map(|l| (l.fd, l.start, l.end, l.flags & GUARDS != 0)).collect();
    left.sort();
    let of = |fd| [(fd, 10, 11, true), (fd, 12, 13, false), (fd, 14, 19, true)];
    assert_eq!(left, [of(3), of(5)].concat());
    let _ = t.description_lock(None, ofd(10, 11));
    assert_eq!(t.count(), 1);
    let _ = t.description_lock(None, ofd(14, 19));
    assert_eq!(t.count(), 0, "the read lock is left");
}

#[test]
fn a_dotlock_that_the_kernel_locks_too_counts_again_when_that_lock_is_gone() {
    let table = table();
    let t = Table(&table);
    let _ = t.dotlock(lock(LockKind::Dot, -1, 7, 0, ALL));
    assert!(t.locked_by_kernel(1, 7) && !t.locked_by_kernel(1, 8));
    let _ = t.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
    t.kernel_let_go(|_| panic!("it is locked still"));
    assert_eq!(t.count(), 1);
    t.closed(3, None);
    assert_eq!(t.count(), 0);
    t.kernel_let_go(|lock| lock.ino == 7);
    assert_eq!(t.count(), 1, "its file is there");
    t.locked_by_kernel(1, 7);
    t.kernel_let_go(|_| false);
    assert!(t.is_empty());
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
    let _ = p.dotlock(lock(LockKind::Dot, -1, 9, 0, ALL));
    let c = Table(&child);
    let _ = c.inherit(p);
    assert_eq!(c.locks().count(), 2, "POSIX locks are not inherited");
    assert_eq!(c.count(), 0);
    let _ = c.description_lock(Some(true), lock(LockKind::Flock, 3, 7, 0, ALL));
    assert_eq!(c.count(), 1, "what it takes itself is its own");
}

#[test]
fn a_dotlock_ends_by_its_inode() {
    let table = table();
    let t = Table(&table);
    let _ = t.dotlock(lock(LockKind::Dot, -1, 7, 0, ALL));
    t.dotlock_gone(1, 8);
    assert_eq!(t.count(), 1, "another took over the name");
    t.dotlock_gone(1, 7);
    assert_eq!(t.count(), 0);
}

#[test]
fn a_dotlock_whose_name_leads_nowhere_stays_one() {
    let table = table();
    let t = Table(&table);
    let _ = t.dotlock(lock(LockKind::Dot, -1, 7, 0, ALL));
    let _ = t.description_lock(Some(true), lock(LockKind::Flock, 3, 8, 0, ALL));
    t.root_left();
    let _ = t.dotlock(lock(LockKind::Dot, -1, 9, 0, ALL));
    let left =
        |t: Table| t.locks().filter(|l| l.flags & ROOT_LEFT != 0).map(|l| l.ino).sum::<u64>();
    assert_eq!((left(t), t.count()), (7, 3), "of the lock files that were there, and of no other");
    let child = self::table();
    assert!(!Table(&child).inherit(t).0);
    assert_eq!(left(Table(&child)), 7, "in a child too");
    assert!(t.locked_by_kernel(1, 7));
    t.kernel_let_go(|lock| lock.flags & ROOT_LEFT != 0);
    assert_eq!((left(t), t.count()), (7, 3));
    t.dotlock_gone(1, 7);
    assert_eq!((left(t), t.count()), (0, 2));
}

#[test]
fn a_full_table_says_so() {
    let table = table();
    let t = Table(&table);
    for n in 0..LOCKS as u64 {
        assert_eq!(t.posix_lock(Some(true), lock(LockKind::Posix, 3, n, 0, ALL)), TableFull(false));
    }
    assert_eq!(t.posix_lock(Some(true), lock(LockKind::Posix, 3, 999, 0, ALL)), TableFull(true));
}

#[test]
fn threads_that_cross_lose_no_place_and_no_lock() {
    let table = table();
    let own = |who: u64, n: u64| lock(LockKind::Posix, who as i32, 1000 * who + n % 3, 0, ALL);
    std::thread::scope(|threads| {
        for who in 1..=8 {
            let t = Table(&table);
            threads.spawn(move || {
                for n in 0..20_000 {
                    let lock = own(who, n);
                    assert_eq!(t.posix_lock(Some(true), lock), TableFull(false));
                    assert_eq!(t.locks().filter(|held| held.ino == lock.ino).count(), 1);
                    // What all of them end at once: each of their locks ends once.
                    let _ = t.posix_lock(Some(true), Lock { ino: 7, ..lock });
                    t.closed(9, Some((1, 7)));
                    assert_eq!(t.locks().filter(|held| held.ino == lock.ino).count(), 1);
                    t.closed(lock.fd, Some((1, lock.ino)));
                    assert!(!t.locks().any(|held| held.ino == lock.ino));
                }
            });
        }
    });
    Table(&table).closed(9, Some((1, 7)));
    assert!(Table(&table).is_empty());
    for n in 0..LOCKS as u64 {
        let lock = lock(LockKind::Posix, 3, n, 0, ALL);
        assert_eq!(
            Table(&table).posix_lock(Some(true), lock),
            TableFull(false),
            "place {n} is lost"
        );
    }
    let one_more = lock(LockKind::Posix, 3, 99, 0, ALL);
    assert_eq!(Table(&table).posix_lock(Some(true), one_more), TableFull(true));
}

#[test]
fn who_saw_the_lock_before_does_not_end_the_one_that_has_its_place_now() {
    // SAFETY: integers and atomics; all zero bytes are a free place.
    let place: std::boxed::Box<LockEntry> = unsafe { std::boxed::Box::new_zeroed().assume_init() };
    place.fill(&lock(LockKind::Posix, 3, 7, 0, ALL));
    let (_, seen) = place.get_filled().unwrap();
    assert!(place.empty(seen));
    assert!(!place.empty(seen), "of two that end it only one does");
    place.fill(&lock(LockKind::Posix, 3, 8, 0, ALL));
    assert!(!place.empty(seen));
    assert_eq!(place.get().map(|lock| lock.ino), Some(8));
    place.flag(JUDGED);
    let (held, now) = place.get_filled().unwrap();
    assert_eq!(held.flags, JUDGED, "how often it was filled is no flag");
    assert!(place.empty(now), "a flag makes it no other lock");
}

#[test]
fn a_lock_that_is_taken_again_or_cut_is_never_out_of_the_table() {
    for kind in [LockKind::Posix, LockKind::Flock, LockKind::Ofd] {
        let table = table();
        let set = |what: Option<bool>, lock: Lock| match kind {
            LockKind::Posix => Table(&table).posix_lock(what, lock),
            _ => Table(&table).description_lock(what, lock),
        };
        let _ = set(Some(true), lock(kind, 3, 7, 0, ALL));
        let done = core::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            let watcher = threads.spawn(|| {
                let (mut looks, mut empty) = (0u32, 0u32);
                while !done.load(core::sync::atomic::Ordering::Relaxed) {
                    looks += 1;
                    empty += (Table(&table).count() == 0) as u32;
                }
                (looks, empty)
            });
            for n in 0..200_000u64 {
                let _ = set(Some(true), lock(kind, 3, 7, 0, ALL));
                if kind != LockKind::Flock {
                    let _ = set(None, lock(kind, 3, 7, n % 9, 10 + n % 7));
                }
            }
            done.store(true, core::sync::atomic::Ordering::Relaxed);
            let (looks, empty) = watcher.join().unwrap();
            assert_eq!(empty, 0, "{kind:?}: not there in {empty} of {looks} looks");
        });
        let _ = set(None, lock(kind, 3, 7, 0, ALL));
        assert!(Table(&table).is_empty(), "{kind:?}");
    }
}

#[test]
fn a_full_table_cuts_a_lock_in_its_own_place() {
    let table = table();
    let t = Table(&table);
    for n in 0..LOCKS as u64 {
        assert_eq!(t.posix_lock(Some(true), lock(LockKind::Posix, 3, n, 0, ALL)), TableFull(false));
    }
    assert_eq!(t.posix_lock(Some(true), lock(LockKind::Posix, 3, 5, 0, ALL)), TableFull(false));
    assert_eq!(t.posix_lock(None, lock(LockKind::Posix, 3, 5, 0, 9)), TableFull(false));
    assert_eq!(t.locks().count(), LOCKS);
    assert_eq!(t.posix_lock(None, lock(LockKind::Posix, 3, 5, 20, 29)), TableFull(true));
}
