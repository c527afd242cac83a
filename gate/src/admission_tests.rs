//! Tests of [`super`], the search for a blocker held against one written down plainly.

use super::*;
use crate::summary::samples::summarize;
use crate::view::LockFile;
use crate::view::samples::*;
use crate::word::ProcessWord;

#[test]
fn the_holder_of_a_lock_that_something_in_flight_waits_for_is_admitted() {
    let waits = [thread(Doing::LockWait, Some(LOCK))];
    let held = [thread(Doing::Held, None)];
    let waiter = ProcessView { threads: &waits, ..process(1, in_section()) };
    let holder = ProcessView {
        threads: &held,
        holds: &[LOCK],
        ..process(2, ProcessWord::default().with_locks(1))
    };
    let summary = summarize(&[waiter, holder], &[]);
    let expected = Admission { nonce: 2, lock_sequence: 5 };
    assert_eq!(summary.candidate, Some(expected));
    let grants = [Grant { candidate: expected }];
    let summary = summarize(&[waiter, holder], &grants);
    assert_eq!((summary.candidate, summary.outstanding), (None, 1));
    let released = ProcessView { lock_sequence: 6, ..holder };
    assert_eq!(summarize(&[waiter, released], &grants).outstanding, 0);
}

#[test]
fn a_section_that_came_over_an_exec_is_let_pass_until_a_lock_is_given_up() {
    let held = [thread(Doing::Held, None)];
    let came = ProcessWord::default().with_locks(1).came_over_exec();
    let image = ProcessView { threads: &held, ..process(2, came) };
    let expected = Admission { nonce: 2, lock_sequence: 5 };
    assert_eq!(summarize(&[image], &[]).candidate, Some(expected));
    let grants = [Grant { candidate: expected }];
    let summary = summarize(&[image], &grants);
    assert_eq!((summary.candidate, summary.revocable), (None, false), "once");
    let going_on = ProcessView { process: came.section_begun(), ..image };
    assert_eq!(summarize(&[going_on], &[]).candidate, None, "it passes by its own right");
}

#[test]
fn a_waiter_that_is_not_in_flight_admits_none() {
    let waits = [thread(Doing::LockWait, Some(LOCK))];
    let held = [thread(Doing::Held, None)];
    let waiter = ProcessView { threads: &waits, ..process(1, ProcessWord::default()) };
    let holder =
        ProcessView { threads: &held, holds: &[LOCK], ..process(2, ProcessWord::default()) };
    let summary = summarize(&[waiter, holder], &[]);
    assert_eq!((summary.candidate, summary.in_flight), (None, 0));
}

#[test]
fn a_grandchild_is_admitted_while_the_owner_is_in_its_section_and_no_longer() {
    let held = [thread(Doing::Held, None)];
    let owner = process(1, in_section());
    let child = ProcessView { parent: Some(0), ..process(2, ProcessWord::default()) };
    let grandchild =
        ProcessView { parent: Some(1), threads: &held, ..process(3, ProcessWord::default()) };
    let all = [owner, child, grandchild];
    let expected = Admission { nonce: 3, lock_sequence: ANY_SEQUENCE };
    assert_eq!(summarize(&all, &[]).candidate, Some(expected));
    let grants = [Grant { candidate: expected }];
    assert!(!summarize(&all, &grants).revocable);
    let done = [process(1, ProcessWord::default()), child, grandchild];
    assert!(summarize(&done, &grants).revocable);
}

#[test]
fn a_holder_that_waits_itself_is_looked_through() {
    const OTHER: LockFile = LockFile { dev: 1, ino: 8 };
    let (first, second) =
        ([thread(Doing::LockWait, Some(LOCK))], [thread(Doing::LockWait, Some(OTHER))]);
    let held = [thread(Doing::Held, None)];
    let owner = ProcessView { threads: &first, ..process(1, in_section()) };
    let between =
        ProcessView { threads: &second, holds: &[LOCK], ..process(2, ProcessWord::default()) };
    let last =
        ProcessView { threads: &held, holds: &[OTHER], ..process(3, ProcessWord::default()) };
    let expected = Admission { nonce: 3, lock_sequence: 5 };
    assert_eq!(summarize(&[owner, between, last], &[]).candidate, Some(expected));
    let circle = ProcessView { holds: &[OTHER], ..owner };
    assert_eq!(summarize(&[circle, between], &[]).candidate, None, "and it ends");
}

#[test]
fn an_owner_that_left_its_section_to_a_child_is_admitted_when_that_is_done() {
    let held = [thread(Doing::Held, None)];
    let owner = ProcessView { threads: &held, ..process(1, in_section().forked(true)) };
    let expected = Admission { nonce: 1, lock_sequence: 5 };
    assert_eq!(summarize(&[owner], &[]).candidate, Some(expected));
    let settled = ProcessView { settled: true, ..owner };
    assert_eq!(summarize(&[settled], &[]).candidate, None);
}

#[test]
fn ancestry_that_goes_in_circles_ends() {
    let held = [thread(Doing::Held, None)];
    let a = ProcessView { parent: Some(1), threads: &held, ..process(1, ProcessWord::default()) };
    let b = ProcessView { parent: Some(0), ..process(2, ProcessWord::default()) };
    assert_eq!(summarize(&[a, b], &[]).candidate, None);
}

/// The search written down plainly, at whatever cost.
mod plain {
    use super::*;

    fn works(at: usize, all: &[ProcessView<'_>]) -> bool {
        super::super::works_for_a_section(at, all)
    }

    fn granted(at: usize, all: &[ProcessView<'_>], grants: &[Grant]) -> bool {
        let of = |g: &&Grant| g.candidate.nonce == all[at].nonce;
        grants.iter().filter(of).any(|g| outstanding(g, all))
    }

    fn blocker(
        all: &[ProcessView<'_>],
        grants: &[Grant],
        path: &mut std::vec::Vec<usize>,
    ) -> Option<Admission> {
        let waiter = path[path.len() - 1];
        for thread in all[waiter].threads {
            let (Doing::LockWait, Some(file)) = (thread.word.doing(), thread.waits_for) else {
                continue;
            };
            for at in (0..all.len()).filter(|at| *at != waiter) {
                if !all[at].holds.contains(&file) {
                    continue;
                }
                if stopped(&all[at]) && !granted(at, all, grants) {
                    return Some(as_holder(&all[at]));
                }
                if !path.contains(&at) {
                    path.push(at);
                    let found = blocker(all, grants, path);
                    path.pop();
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    pub fn candidate(all: &[ProcessView<'_>], grants: &[Grant]) -> Option<Admission> {
        let needed =
            |at: &usize| all[*at].in_section() || granted(*at, all, grants) || works(*at, all);
        let mut waiters = (0..all.len()).filter(needed);
        let found = waiters.find_map(|at| blocker(all, grants, &mut std::vec![at]));
        if found.is_some() {
            return found;
        }
        let free = |at: &usize| stopped(&all[*at]) && !granted(*at, all, grants);
        (0..all.len()).filter(free).find_map(|at| match all[at].in_section() {
            true => Some(as_holder(&all[at])),
            false => works(at, all)
                .then_some(Admission { nonce: all[at].nonce, lock_sequence: ANY_SEQUENCE }),
        })
    }
}

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[test]
fn the_search_finds_what_the_plain_one_finds() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let (mut found, mut revocable) = (0, 0);
    for _ in 0..20_000 {
        let count = 1 + dice.below(5) as usize;
        let file = |dice: &mut Dice| LockFile { dev: 1, ino: dice.below(4) };
        let doings = [Doing::LockWait, Doing::LockWait, Doing::Held, Doing::Idle, Doing::Call];
        let threads: std::vec::Vec<std::vec::Vec<_>> = (0..count)
            .map(|_| {
                let many = dice.below(3);
                let one = |dice: &mut Dice| {
                    let doing = doings[dice.below(5) as usize];
                    let waits = (doing == Doing::LockWait).then(|| file(dice));
                    thread(doing, waits)
                };
                (0..many).map(|_| one(&mut dice)).collect()
            })
            .collect();
        let holds: std::vec::Vec<std::vec::Vec<_>> =
            (0..count).map(|_| (0..dice.below(4)).map(|_| file(&mut dice)).collect()).collect();
        let all: std::vec::Vec<_> = (0..count)
            .map(|at| ProcessView {
                threads: &threads[at],
                holds: &holds[at],
                parent: (dice.below(2) == 0).then(|| dice.below(count as u64 + 1) as usize),
                settled: dice.below(8) == 0,
                ..process(
                    dice.below(6),
                    match dice.below(4) {
                        0 => in_section(),
                        1 => in_section().forked(true),
                        _ => ProcessWord::default(),
                    },
                )
            })
            .collect();
        let grant = |dice: &mut Dice| Grant {
            candidate: Admission {
                nonce: dice.below(6),
                lock_sequence: [5, 6, ANY_SEQUENCE][dice.below(3) as usize],
            },
        };
        let grants: std::vec::Vec<_> = (0..dice.below(3)).map(|_| grant(&mut dice)).collect();
        let summary = summarize(&all, &grants);
        assert_eq!(summary.candidate, plain::candidate(&all, &grants), "{all:?} {grants:?}");
        found += summary.candidate.is_some() as u32;
        revocable += summary.revocable as u32;
    }
    assert!(found > 2_000 && revocable > 1_000, "{found} {revocable}: too seldom to tell");
}

#[test]
fn a_web_of_waiters_costs_what_it_is_large() {
    let file = |ino| LockFile { dev: 1, ino };
    let threads: std::vec::Vec<_> =
        (0..2_000).map(|ino| thread(Doing::LockWait, Some(file(ino % 64)))).collect();
    let holds: std::vec::Vec<_> = (0..64).map(file).collect();
    let all: std::vec::Vec<_> = (1..200)
        .map(|nonce| ProcessView {
            threads: &threads,
            holds: &holds,
            parent: Some(nonce as usize % 199),
            ..process(nonce, in_section())
        })
        .collect();
    // Hours, if each wait is followed from each waiter.
    assert_eq!(summarize(&all, &[]).candidate, None);
}
