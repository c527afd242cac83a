//! The strong mode (no `membarrier`) under loom: the memory orderings themselves.
//!
//! loom knows C11 orderings and fences, but no fence that one thread makes for
//! another, so it sees only this mode: the worker announces by a plain store and a
//! full fence of its own. The file is a cell that loom watches: a change that is
//! not ordered before or after the freezer's reading of it fails the test.
//!
//! loom takes SeqCst *accesses* for AcqRel; where the library uses a locked
//! instruction as a fence, a fence stands here.

use gate::drain::{Action, Answer, Drain, Limits, Outcome};
use gate::entry::{Enclosing, Look, Patience, may_pass};
use gate::scratch::{Holder, Place, Scratch};
use gate::summary::Summary;
use gate::summary::summarize;
use gate::view::{ProcessView, ThreadView};
use gate::word::{Doing, ProcessWord, ThreadWord};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicU64, fence};

const DEADLINE: u64 = 1000;

/// What is left out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    WorkersFence,
    FreezersFence,
    Announcement,
}

/// The memory that both sides see.
struct Shared {
    barrier: AtomicU64,
    word: AtomicU64,
    process: AtomicU64,
    file: UnsafeCell<u64>,
}

impl Shared {
    fn new() -> Shared {
        Shared {
            barrier: AtomicU64::new(0),
            word: AtomicU64::new(0),
            process: AtomicU64::new(0),
            file: UnsafeCell::new(0),
        }
    }

    fn step(&self, with: impl Fn(ProcessWord) -> ProcessWord) {
        let word = ProcessWord(self.process.load(Relaxed));
        self.process.store(with(word).0, Release);
    }

    /// One call that changes the file.
    fn call(&self, without: Without) {
        let mut patience = Patience::default();
        loop {
            let word = ThreadWord(self.word.load(Relaxed)).enter(Doing::Asking, 1, None);
            if without != Without::Announcement {
                self.word.store(word.0, Release);
            }
            if without != Without::WorkersFence {
                fence(SeqCst);
            }
            let look = patience.look(self.barrier.load(Acquire), || 0);
            let process = ProcessWord(self.process.load(Relaxed));
            if look != Look::Closed || may_pass(process, false, Enclosing::Nothing) {
                break;
            }
            self.word.store(word.retract(Doing::Held).0, Release);
            while self.barrier.load(Acquire) != 0 {
                loom::thread::yield_now();
            }
        }
        if ProcessWord(self.process.load(Relaxed)).would_begin() {
            self.step(ProcessWord::section_begun);
        }
        if without != Without::Announcement {
            let granted = self.word.load(Relaxed).wrapping_add(ThreadWord::GRANT);
            self.word.store(granted, Relaxed);
        }
        // SAFETY: that nobody reads meanwhile is what is being tested.
        self.file.with_mut(|file| unsafe { *file += 1 });
        let done = ThreadWord(self.word.load(Relaxed)).leave();
        self.word.store(done.0, Release);
    }

    /// A set of two calls under a lock that nobody else wants.
    fn section(&self, without: Without) {
        self.step(|word| word.with_locks(1));
        self.call(without);
        self.call(without);
        self.step(|word| word.with_locks(0));
    }

    fn pass(&self) -> Summary {
        let thread = [ThreadView {
            word: ThreadWord(self.word.load(Acquire)),
            waits_for: None,
            disregarded: false,
        }];
        let process = ProcessView {
            nonce: 1,
            process: ProcessWord(self.process.load(Acquire)),
            lock_sequence: 0,
            threads: &thread,
            holds: &[],
            overflow: 0,
            overflow_entries: 0,
            parent: None,
            rank: Default::default(),
            settled: false,
            fresh_fork: false,
            unknown: false,
            unaccounted_lock: false,
            in_doubt: false,
        };
        let (mut places, mut holders) = ([Place::default()], [Holder::default(); 4]);
        let processes = [process];
        let scratch = Scratch::for_pass(&processes, &mut places, &mut holders);
        summarize(&processes, &[], &mut scratch.expect("one process, few locks"))
    }

    /// Drains, looks at the file, opens.
    fn freeze(&self, without: Without) {
        let limits = Limits {
            deadline: DEADLINE,
            drain_until: DEADLINE,
            stuck_after: 1,
            openings: 0,
            order: None,
        };
        let mut drain = Drain::new(limits);
        let mut answer = Answer::Done(0);
        loop {
            answer = match drain.next(answer) {
                Action::Close(deadline) => {
                    self.barrier.store(deadline, Release);
                    Answer::Done(0)
                }
                Action::Fence => {
                    if without != Without::FreezersFence {
                        fence(SeqCst);
                    }
                    Answer::Done(0)
                }
                Action::Pass => Answer::Seen(self.pass(), 0),
                Action::Rescan => Answer::Newcomers(0),
                Action::Pause => {
                    loom::thread::yield_now();
                    Answer::Done(0)
                }
                Action::Done(outcome) => {
                    assert_eq!(outcome, Outcome::Drained);
                    break;
                }
                other => unreachable!("{other:?}"),
            };
        }
        // SAFETY: as above.
        self.file.with(|file| unsafe { *file });
        self.barrier.store(0, Release);
    }
}

fn explore(without: Without, work: fn(&Shared, Without)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let shared = Arc::new(Shared::new());
        let worker = shared.clone();
        let worker = loom::thread::spawn(move || work(&worker, without));
        shared.freeze(without);
        worker.join().expect("the worker ends");
    });
    println!("{} executions", count.load(std::sync::atomic::Ordering::Relaxed));
}

#[test]
fn a_call_is_before_the_drain_or_after_the_opening() {
    explore(Without::Nothing, |shared, without| {
        shared.call(without);
        shared.call(without);
    });
}

#[test]
fn a_section_is_before_the_drain_or_after_the_opening() {
    explore(Without::Nothing, Shared::section);
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_the_workers_fence() {
    explore(Without::WorkersFence, Shared::call);
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_the_freezers_fence() {
    explore(Without::FreezersFence, Shared::call);
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_an_announcement() {
    explore(Without::Announcement, Shared::call);
}
