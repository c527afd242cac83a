//! The freezer: obeys `gate::drain`, and asks the oracle inside its window.

use super::Fault;
use super::world::{ALIVE, FIRST_CHILD, FREE, PAIRS, Random, SETS, World, fence_everybody, now_ns};
use crossbeam_utils::Backoff;
use gate::admission::Admission;
use gate::admission::{Grant, must_revoke};
use gate::control::ANY_SEQUENCE;
use gate::drain::{Action, Answer, Drain, Limits, Outcome};
use gate::scratch::{Holder, Place, Scratch};
use gate::summary::Summary;
use gate::summary::summarize;
use gate::thaw::{Thaw, ThawAction};
use gate::view::{LockFile, ProcessView, ThreadView};
use gate::word::{Doing, ProcessWord, ThreadWord};
use std::hint::spin_loop;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

/// What many freezes came to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    /// What the workers did meanwhile.
    pub entries: u64,
    /// Calls that had waited as long as they may, and passed.
    pub overdue: u64,
    /// Drained, and the lease held to the end.
    pub held: u64,
    /// Of these: somebody had passed, and the thaw saw it.
    pub noticed: u64,
    /// Not drained in time.
    pub not_drained: u64,
    /// The limit passed first.
    pub expired: u64,
    /// Grant up in the middle, as by SIGKILL, the barrier left up.
    pub abandoned: u64,
    /// Openings and admissions.
    pub openings: u64,
    pub admitted: u64,
    /// Windows in which the oracle saw a worker inside, or a set cut in two.
    pub inside: u64,
    /// Of these: those that would have been called CONSISTENT.
    pub claimed: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.entries += other.entries;
        self.overdue += other.overdue;
        self.held += other.held;
        self.noticed += other.noticed;
        self.not_drained += other.not_drained;
        self.expired += other.expired;
        self.abandoned += other.abandoned;
        self.openings += other.openings;
        self.admitted += other.admitted;
        self.inside += other.inside;
        self.claimed += other.claimed;
    }
}

struct Member {
    region: usize,
    nonce: u64,
}

struct Row {
    threads: Range<usize>,
    process: ProcessWord,
    lock_sequence: u64,
    holds: Option<LockFile>,
}

/// What the oracle shows at one moment.
#[derive(PartialEq, Eq)]
struct Seen {
    pairs: [(u64, u64); PAIRS],
    sets: [(u64, u64); SETS],
}

impl Seen {
    fn quiesced(&self) -> bool {
        self.pairs.iter().chain(&self.sets).all(|(first, second)| first == second)
    }
}

pub struct Freezer {
    world: &'static World,
    fault: Fault,
    random: Random,
    members: Vec<Member>,
    threads: Vec<ThreadView>,
    rows: Vec<Row>,
    holds: Vec<LockFile>,
    given: Vec<Grant>,
    last_deadline: u64,
    /// This freeze thaws about when its limit passes.
    late: bool,
    /// Every drain is made to open once, as if it were stuck.
    pub phantoms: bool,
    pub tally: Tally,
}

impl Freezer {
    pub fn new(world: &'static World, fault: Fault) -> Self {
        Freezer {
            world,
            fault,
            random: Random(now_ns() | 1),
            members: Vec::new(),
            threads: Vec::new(),
            rows: Vec::new(),
            holds: Vec::new(),
            given: Vec::new(),
            last_deadline: 0,
            late: false,
            phantoms: fault == Fault::NoFenceAfterOpening,
            tally: Tally::default(),
        }
    }

    /// Takes in whom it does not know yet; how many those are.
    fn rescan(&mut self) -> u32 {
        let mut newcomers = 0;
        let children = self.world.next_child.load(Acquire) as usize;
        let used = self.world.regions.len().min(FIRST_CHILD + children);
        let regions = self.world.regions.iter().enumerate().take(used);
        let born_or_given = |at: usize| at < self.world.processes.load(Relaxed) as usize;
        for (at, region) in regions.filter(|(at, _)| *at >= FIRST_CHILD || born_or_given(*at)) {
            if region.life.load(Acquire) != ALIVE {
                continue;
            }
            let nonce = region.header.nonce.load(Relaxed);
            if !self.members.iter().any(|m| m.nonce == nonce) {
                self.members.push(Member { region: at, nonce });
                newcomers += 1;
            }
        }
        newcomers
    }

    /// Every word of every region, threads before their process, as the command.
    fn read(&mut self) {
        self.threads.clear();
        self.rows.clear();
        for member in &self.members {
            let region = &self.world.regions[member.region];
            let used = region.header.slots_used.load(Relaxed) as usize;
            let from = self.threads.len();
            for slot in &region.slots[..used] {
                let word = ThreadWord(slot.word.load(Acquire));
                let waits_for = (word.doing() == Doing::LockWait)
                    .then(|| LockFile { dev: 1, ino: slot.wait_ino.load(Relaxed) });
                self.threads.push(ThreadView { word, waits_for, disregarded: false });
            }
            if used > 4 && self.random.below(16) == 0 {
                // A freezer may be given no processor in the middle of a pass.
                for _ in 0..self.random.below(2_000) {
                    spin_loop();
                }
            }
            let holds = region.holds.load(Relaxed);
            self.rows.push(Row {
                threads: from..self.threads.len(),
                process: ProcessWord(region.header.process.load(Acquire)),
                lock_sequence: region.header.lock_sequence.load(Acquire),
                holds: (holds != 0).then_some(LockFile { dev: 1, ino: holds }),
            });
        }
        self.holds.clear();
        self.holds
            .extend(self.rows.iter().map(|row| row.holds.unwrap_or(LockFile { dev: 0, ino: 0 })));
    }

    fn views(&self) -> Vec<ProcessView<'_>> {
        let parent_of = |member: &Member| {
            let answer = self.world.regions[member.region].header.parent_nonce.load(Relaxed);
            self.members.iter().position(|other| answer != 0 && other.nonce == answer)
        };
        self.members
            .iter()
            .zip(&self.rows)
            .enumerate()
            .map(|(at, (member, row))| ProcessView {
                nonce: member.nonce,
                process: row.process,
                lock_sequence: row.lock_sequence,
                threads: &self.threads[row.threads.clone()],
                holds: if row.holds.is_some() { &self.holds[at..=at] } else { &[] },
                overflow: 0,
                overflow_entries: 0,
                parent: parent_of(member),
                rank: Default::default(),
                settled: false,
                fresh_fork: false,
                unknown: false,
                unaccounted_lock: false,
                in_doubt: false,
            })
            .collect()
    }

    fn pass(&mut self) -> Summary {
        self.read();
        let views = self.views();
        let (places, holders) = Scratch::needs(&views);
        let mut places = vec![Place::default(); places];
        let mut holders = vec![Holder::default(); holders];
        let scratch = Scratch::for_pass(&views, &mut places, &mut holders);
        summarize(&views, &self.given, &mut scratch.expect("it was made large enough"))
    }

    fn clear_admissions(&mut self) {
        for place in &self.world.control.admissions {
            place.nonce.store(0, Release);
        }
        self.given.clear();
        fence(SeqCst);
    }

    fn admit(&mut self, candidate: Admission) {
        let places = &self.world.control.admissions;
        if let Some(place) = places.iter().find(|place| place.nonce.load(Relaxed) == 0) {
            place.lock_sequence.store(candidate.lock_sequence, Release);
            place.nonce.store(candidate.nonce, SeqCst);
            self.given.push(Grant { candidate });
        }
    }

    fn revoke(&mut self) {
        let back: Vec<Grant> = {
            let views = self.views();
            self.given.iter().copied().filter(|given| must_revoke(given, &views)).collect()
        };
        for given in &back {
            for place in &self.world.control.admissions {
                if place.nonce.load(Relaxed) == given.candidate.nonce
                    && place.lock_sequence.load(Relaxed) == given.candidate.lock_sequence
                {
                    place.nonce.store(0, SeqCst);
                }
            }
        }
        self.given.retain(|given| !back.contains(given));
        if self.fault != Fault::NoFence {
            fence_everybody();
        }
    }

    fn lower(&mut self) -> u64 {
        self.world.control.barrier.store(0, SeqCst);
        fence(SeqCst);
        let opened_at = now_ns();
        self.clear_admissions();
        opened_at
    }

    /// Until everybody who was held has gone on; bounded.
    fn await_moved(&mut self, most_ns: u64) {
        let until = now_ns() + most_ns;
        self.read();
        let mut held: Vec<(usize, usize, ThreadWord)> = Vec::new();
        for (member, row) in self.members.iter().zip(&self.rows) {
            for (slot, thread) in self.threads[row.threads.clone()].iter().enumerate() {
                if thread.word.doing() == Doing::Held {
                    held.push((member.region, slot, thread.word));
                }
            }
        }
        let backoff = Backoff::new();
        while !held.is_empty() && now_ns() < until {
            backoff.snooze();
            held.retain(|(region, slot, word)| {
                let region = &self.world.regions[*region];
                let now = ThreadWord(region.slots[*slot].word.load(Acquire));
                region.life.load(Acquire) == ALIVE && !now.has_moved(*word)
            });
        }
    }

    fn dawdle(&mut self, most: u64) {
        for _ in 0..self.random.below(most) {
            spin_loop();
        }
    }

    fn oracle(&self) -> Seen {
        let read =
            |pair: &super::world::Pair| (pair.first.load(Acquire), pair.second.load(Acquire));
        Seen {
            pairs: std::array::from_fn(|at| read(&self.world.pairs[at])),
            sets: std::array::from_fn(|at| read(&self.world.sets[at])),
        }
    }

    /// One freeze, from the census to the verdict.
    pub fn freeze(&mut self) {
        self.members.clear();
        self.rescan();
        if self.world.control.barrier.load(Acquire) != 0 {
            self.lower(); // whoever was here before has died
        }
        self.await_moved(20_000_000);
        self.dawdle(2_000);
        self.clear_admissions();
        // Now and then a limit that the window may well outlast.
        self.late = self.fault == Fault::None && self.random.below(32) == 0;
        let limit_ns = if self.late { 10_000_000 } else { 1_000_000_000 };
        let now = now_ns();
        let deadline = (now + limit_ns).max(self.last_deadline + 1);
        let limits = Limits {
            deadline,
            drain_until: now + limit_ns / 2,
            stuck_after: 20_000,
            openings: 8,
            order: None,
        };
        let mut drain = Drain::new(limits);
        let die_at = if self.random.below(64) == 0 { self.random.below(8) } else { u64::MAX };
        let mut answer = Answer::Done(now);
        let mut drained = Summary::default();
        let mut pauses = 0;
        for turn in 0.. {
            let mut ask = drain.next(answer);
            // Neither a second one before the listing, nor one after it.
            let again = match (self.fault, ask, answer) {
                (Fault::OnePass, Action::Pass, Answer::Seen(seen, _)) => Some(seen),
                (Fault::OnePass, Action::Pass, Answer::Newcomers(0)) => Some(drained),
                _ => None,
            };
            if let Some(seen) = again
                && seen.in_flight == 0
                && seen.outstanding == 0
            {
                ask = drain.next(Answer::Seen(seen, now_ns()));
            }
            if turn == die_at {
                self.tally.abandoned += 1;
                return;
            }
            answer = match ask {
                Action::CloseFirst(..) => unreachable!("no order here"),
                Action::Close(deadline) => {
                    self.last_deadline = deadline;
                    self.world.control.barrier.store(deadline, SeqCst);
                    fence(SeqCst);
                    Answer::Done(now_ns())
                }
                Action::Fence => {
                    let opened = drain.openings() > 0;
                    if !(self.fault == Fault::NoFence
                        || self.fault == Fault::NoFenceAfterOpening && opened)
                    {
                        fence_everybody();
                    }
                    Answer::Done(now_ns())
                }
                Action::Pass => {
                    drained = self.pass();
                    if self.phantoms && drain.openings() == 0 {
                        // Something in flight waits for something held.
                        drained = Summary { in_flight: 1, held: 1, stuck_digest: 7, ..drained };
                    }
                    Answer::Seen(drained, now_ns())
                }
                Action::Rescan => Answer::Newcomers(self.rescan()),
                Action::Admit(candidate) => {
                    self.forget_ended();
                    self.admit(candidate);
                    Answer::Done(now_ns())
                }
                Action::Revoke => {
                    self.revoke();
                    Answer::Done(now_ns())
                }
                Action::Open => {
                    self.lower();
                    Answer::Done(now_ns())
                }
                Action::AwaitMoved => {
                    self.await_moved(50_000_000);
                    if self.fault == Fault::NoFenceAfterOpening {
                        // At any moment of an entry, of which each takes a microsecond or two.
                        self.dawdle(200);
                    } else {
                        // Also long enough for a section to end.
                        let more = self.random.below(2) * self.random.below(500);
                        std::thread::sleep(std::time::Duration::from_micros(more));
                    }
                    Answer::Done(now_ns())
                }
                Action::Pause => {
                    pauses += 1;
                    if pauses > 20 {
                        std::thread::yield_now();
                    } else {
                        self.dawdle(100);
                    }
                    Answer::Done(now_ns())
                }
                Action::Done(outcome) => {
                    self.tally.openings += drain.openings() as u64;
                    self.tally.admitted += drain.admitted() as u64;
                    if outcome == Outcome::NotDrained {
                        self.lower();
                        self.tally.not_drained += 1;
                        return;
                    }
                    break;
                }
            };
        }
        self.window(drained, drain.deadline());
    }

    fn forget_ended(&mut self) {
        let ended: Vec<Grant> = {
            let views = self.views();
            let holds = |c: &Admission| {
                c.lock_sequence == ANY_SEQUENCE
                    || views
                        .iter()
                        .any(|p| p.nonce == c.nonce && p.lock_sequence == c.lock_sequence)
            };
            self.given.iter().copied().filter(|given| !holds(&given.candidate)).collect()
        };
        for given in &ended {
            for place in &self.world.control.admissions {
                if place.nonce.load(Relaxed) == given.candidate.nonce
                    && place.lock_sequence.load(Relaxed) == given.candidate.lock_sequence
                {
                    place.nonce.store(0, SeqCst);
                }
            }
        }
        self.given.retain(|given| !ended.contains(given));
    }

    /// The snapshot: two looks at the oracle. Then the thaw.
    fn window(&mut self, drained: Summary, deadline: u64) {
        let first = self.oracle();
        self.dawdle(1_000);
        if self.late {
            let until = deadline - 1_000_000 + self.random.below(2_000_000);
            while now_ns() < until {
                spin_loop();
            }
        }
        let second = self.oracle();
        let moved = !first.quiesced() || first != second;
        let mut thaw = Thaw::new(drained, deadline, now_ns() + 20_000_000);
        let mut answer = Answer::Done(now_ns());
        let held = loop {
            answer = match thaw.next(answer) {
                // Its pass counts whoever asks as passing, and needs none.
                ThawAction::Fence => Answer::Done(now_ns()),
                ThawAction::Pass => Answer::Seen(self.pass(), now_ns()),
                ThawAction::Pause => Answer::Done(now_ns()),
                ThawAction::Open => Answer::Done(self.lower()),
                ThawAction::Done(held) => break held,
            };
        };
        match held {
            Err(gate::thaw::Broken::Expired) => {
                // Writers went on at the limit, and the verdict says so.
                self.tally.expired += 1;
                return;
            }
            Err(gate::thaw::Broken::Moved) => self.tally.noticed += 1,
            Ok(()) => self.tally.claimed += moved as u64,
        }
        self.tally.held += 1;
        self.tally.inside += moved as u64;
    }

    /// Waits until every process of the start has its region.
    pub fn await_start(&self, processes: usize) {
        let until = now_ns() + 20_000_000_000;
        while self.world.regions[..processes].iter().any(|r| r.life.load(Acquire) == FREE) {
            assert!(now_ns() < until, "the workers did not start: no membarrier here?");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
