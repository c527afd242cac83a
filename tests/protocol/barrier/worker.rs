//! Workers: processes and threads that make entries, as the library makes them.

use super::Fault;
use super::world::{
    ALIVE, DEAD, FIRST_CHILD, PAIRS, REGIONS, Random, Region, World, now_ns, register,
};
use crossbeam_utils::Backoff;
use gate::entry::{Enclosing, Look, Patience, may_pass};
use gate::region::Slot;
use gate::word::{Doing, ProcessWord, ThreadWord};
use std::hint::spin_loop;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, compiler_fence};

/// Words of it: 32 MB, more than any cache.
const BALLAST: usize = 4 << 20;

/// What one process does, and how many of them there are.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Threads that make single calls.
    Singles { threads: usize },
    /// One thread makes sections, another single calls that pass while one is
    /// open; and many threads that do nothing, so that a pass takes its time.
    Crowd { set: usize },
    /// A section under a lock that others want too.
    Locker { set: usize },
    /// A section that takes another's lock on its way.
    Chain { set: usize, other: usize },
    /// Locks, lets a child write and exit, records.
    Family { set: usize },
    /// A section that asks another process for something, which must make an
    /// entry before it answers: only an opening helps.
    Asker { set: usize },
    /// That other process.
    Answerer,
}

/// One thread of one process.
pub struct Worker {
    world: &'static World,
    region: &'static Region,
    slot: &'static Slot,
    random: Random,
    /// Stores that miss the caches, so that the word's store has to queue behind
    /// them, as it does in a program that does something.
    ballast: Vec<u64>,
    entries: &'static AtomicU64,
    fault: Fault,
}

impl Worker {
    fn new(
        world: &'static World,
        fault: Fault,
        region: usize,
        slot: usize,
        entries: &'static AtomicU64,
    ) -> Self {
        let region = &world.regions[region];
        let random = Random(now_ns() ^ (std::process::id() as u64) << 32 ^ slot as u64 | 1);
        Worker {
            world,
            region,
            slot: &region.slots[slot],
            random,
            ballast: Vec::new(),
            entries,
            fault,
        }
    }

    fn look(&self, patience: &mut Patience) -> Look {
        patience.look(self.world.control.barrier.load(SeqCst), now_ns)
    }

    fn permitted(&self) -> bool {
        let header = &self.region.header;
        let process = ProcessWord(header.process.load(SeqCst));
        let (nonce, sequence) = (header.nonce.load(Relaxed), header.lock_sequence.load(Acquire));
        may_pass(process, self.world.control.admits(nonce, sequence), Enclosing::Nothing)
    }

    /// One entry: announce, look, perhaps wait; then `act`; then leave. `passes`
    /// is what the library does once the entry is let pass, before it acts.
    fn enter(&mut self, passes: impl Fn(&Region), act: impl FnOnce(&mut Self)) {
        // With a fault to show, at every entry; else there would be too few of them.
        let heavy = self.fault != Fault::None || self.random.below(8) == 0;
        if heavy && !self.ballast.is_empty() {
            for _ in 0..self.random.below(40) {
                let at = self.random.below(self.ballast.len() as u64) as usize;
                // SAFETY: within the vector. Volatile: nobody reads it.
                unsafe { self.ballast.as_mut_ptr().add(at).write_volatile(1) };
            }
        }
        let word = &self.slot.word;
        let before = ThreadWord(word.load(Relaxed));
        word.store(before.enter(Doing::Asking, 1, None).0, Release);
        compiler_fence(SeqCst);
        let would_begin = ProcessWord(self.region.header.process.load(Acquire)).would_begin();
        if self.world.control.barrier.load(Acquire) != 0 || would_begin {
            self.slowly();
        }
        passes(self.region);
        // The library's one-instruction add, whose orderings these are.
        word.store(word.load(Relaxed).wrapping_add(ThreadWord::GRANT), Release);
        act(self);
        self.entries.store(self.entries.load(Relaxed) + 1, Relaxed);
        word.store(word.load(Relaxed) & ThreadWord::LEAVE, Release);
    }

    /// Until the entry is let pass.
    fn slowly(&self) {
        let word = &self.slot.word;
        let mut patience = Patience::default();
        loop {
            word.fetch_or(0, SeqCst);
            let barrier = self.world.control.barrier.load(SeqCst);
            let look = self.look(&mut patience);
            if look != Look::Closed || self.permitted() {
                if look == Look::Overdue {
                    self.world.overdue.fetch_add(1, Relaxed);
                }
                return;
            }
            word.fetch_add(ThreadWord::HOLD, SeqCst);
            let mut turns = 0u32;
            while self.world.control.barrier.load(Acquire) == barrier
                && self.look(&mut patience) == Look::Closed
                && !self.permitted()
            {
                turns += 1;
                if turns > self.world.spins.load(Relaxed) {
                    std::thread::yield_now();
                } else {
                    spin_loop();
                }
            }
            let held = ThreadWord(word.load(Relaxed));
            word.store(held.enter(Doing::Asking, 1, None).0, Release);
        }
    }

    /// A short while, never the same.
    fn dawdle(&mut self, most: u64) {
        for _ in 0..self.random.below(most) {
            spin_loop();
        }
    }

    /// A single call: the oracle's first number before, its second after.
    fn single(&mut self, pair: usize, slow: bool) {
        let pair = &self.world.pairs[pair];
        self.enter(
            |_| {},
            |me| {
                let next = pair.first.load(Relaxed) + 1;
                pair.first.store(next, Release);
                let one_in = if me.fault == Fault::None { 64 } else { 4 };
                let long = me.random.below(one_in) == 0;
                me.dawdle(if long { 200 } else { 4 });
                if slow {
                    me.sleep(300);
                }
                pair.second.store(next, Release);
            },
        );
    }

    /// Half of the time not at all.
    fn sleep(&mut self, most_us: u64) {
        if self.random.below(2) == 0 {
            std::thread::sleep(std::time::Duration::from_micros(self.random.below(most_us)));
        }
    }

    fn step(&self, next: impl Fn(ProcessWord) -> ProcessWord) {
        step(self.region, next);
    }

    /// Takes a lock of the shared memory; waiting for it is shown, and no entry.
    fn lock(&mut self, lock: usize) {
        let word = &self.slot.word;
        let before = ThreadWord(word.load(Relaxed));
        self.slot.wait_dev.store(1, Relaxed);
        self.slot.wait_ino.store(lock as u64 + 1, Relaxed);
        word.store(before.enter(Doing::LockWait, 2, None).0, Release);
        // First come, first served, as the kernel does it: else two could pass the
        // lock to and fro, each of them admitted, and a third wait without end.
        let ticket = self.world.locks[lock].tickets.fetch_add(1, AcqRel);
        let backoff = Backoff::new();
        while self.world.locks[lock].serves.load(Acquire) != ticket && self.world.going_on() {
            backoff.snooze();
        }
        // One lock at a time is shown: enough for who waits for it.
        self.region.holds.store(lock as u64 + 1, Relaxed);
        self.step(|word| word.with_locks(word.locks() + 1));
        word.store(word.load(Relaxed) & ThreadWord::LEAVE, Release);
    }

    /// The library's order: the lock is gone, then the table says so.
    fn unlock(&mut self, lock: usize) {
        self.world.locks[lock].serves.fetch_add(1, Release);
        self.region.holds.store(0, Relaxed);
        self.region.header.lock_sequence.fetch_add(1, AcqRel);
        self.step(|word| word.with_locks(word.locks().saturating_sub(1)));
    }

    /// One half of a set, under a lock.
    fn half(&mut self, set: usize, second: bool, number: u64) {
        let pair = &self.world.sets[set];
        let half = if second { &pair.second } else { &pair.first };
        self.enter(begins, |me| {
            me.dawdle(10);
            half.store(number, Release);
        });
    }

    fn section(&mut self, set: usize, between: impl FnOnce(&mut Self)) {
        self.lock(set);
        let next = self.world.sets[set].first.load(Acquire) + 1;
        self.half(set, false, next);
        between(self);
        self.half(set, true, next);
        self.unlock(set);
    }

    fn family(&mut self, set: usize) {
        self.lock(set);
        let number = self.world.sets[set].first.load(Acquire) + 1;
        let world = self.world;
        let turn = world.next_child.fetch_add(1, Relaxed) as usize;
        let at = FIRST_CHILD + turn % (REGIONS - FIRST_CHILD);
        let mut child = 0;
        // SAFETY: the child makes no call but those of this file, and _exit.
        let mut fork = || child = unsafe { libc::fork() };
        if self.fault == Fault::ForkIsNoEntry {
            fork();
        } else {
            self.enter(|region| step(region, |word| word.forked(false)), |_| fork());
        }
        if child == 0 {
            let parent = self.region.header.nonce.load(Relaxed);
            settle(&world.regions[at], 1, parent);
            self.region = &world.regions[at];
            self.slot = &self.region.slots[0];
            self.half(set, false, number);
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: the child forked above.
        unsafe { libc::waitpid(child, &mut status, 0) };
        world.regions[at].life.store(DEAD, Release);
        self.dawdle(2000);
        self.half(set, true, number);
        self.unlock(set);
        self.dawdle(20_000);
    }
}

/// A step of the process word, as the library makes it.
fn step(region: &Region, next: impl Fn(ProcessWord) -> ProcessWord) {
    let word = &region.header.process;
    let _ = word.fetch_update(Release, Relaxed, |word| Some(next(ProcessWord(word)).0));
}

/// The first change under a lock opens the section.
fn begins(region: &Region) {
    let word = ProcessWord(region.header.process.load(Acquire));
    if word.would_begin() {
        step(region, |word| if word.locks() > 0 { word.section_begun() } else { word });
    }
}

/// Makes a region this process's own; its life last.
fn settle(region: &Region, slots: u32, parent_nonce: u64) {
    let header = &region.header;
    region.slots.iter().for_each(|slot| slot.word.store(0, Relaxed));
    header.process.store(0, Relaxed);
    header.lock_sequence.store(0, Relaxed);
    header.parent_nonce.store(parent_nonce, Relaxed);
    header.slots_used.store(slots, Relaxed);
    header.nonce.store(now_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Relaxed);
    region.holds.store(0, Relaxed);
    region.life.store(ALIVE, Release);
}

/// A process that does its job until the world stops. `number`: which one it is.
pub fn start(world: &'static World, fault: Fault, number: usize, job: Job) -> i32 {
    // SAFETY: the child does its job and ends by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        // SAFETY: integers. A test that is killed takes its workers along.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // Many of them must not keep the freezer from freezing.
            if world.processes.load(Relaxed) > 2 {
                libc::nice(5);
            }
        }
        let registered = register();
        if registered {
            work(world, fault, number, job);
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(!registered as i32) };
    }
    child
}

fn work(world: &'static World, fault: Fault, number: usize, job: Job) {
    let slots = match job {
        Job::Singles { threads } => threads,
        Job::Crowd { .. } => super::world::SLOTS,
        _ => 1,
    };
    settle(&world.regions[number], slots as u32, 0);
    let pair = |thread: usize| (number * 4 + thread) % PAIRS;
    let worker =
        |slot: usize| Worker::new(world, fault, number, slot, &world.pairs[pair(slot % 4)].entries);
    match job {
        Job::Singles { threads } => {
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    scope.spawn(move || {
                        let mut me = worker(thread);
                        me.ballast = vec![1; BALLAST];
                        while world.going_on() {
                            me.single(pair(thread), false);
                        }
                    });
                }
            });
        }
        Job::Crowd { set } => {
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    // The first slot: a pass reads it, and the process's word 255 slots later.
                    let mut me = worker(0);
                    while world.going_on() {
                        me.single(pair(0), true);
                        me.sleep(200);
                    }
                });
                let mut me = worker(1);
                while world.going_on() {
                    me.section(set, |me| me.sleep(300));
                    me.dawdle(10);
                }
            });
        }
        _ => {
            let mut me = worker(0);
            if matches!(job, Job::Answerer) {
                me.ballast = vec![1; BALLAST];
            }
            while world.going_on() {
                turn(&mut me, job);
            }
        }
    }
}

fn turn(me: &mut Worker, job: Job) {
    let world = me.world;
    match job {
        Job::Locker { set } => {
            me.section(set, |me| me.dawdle(100));
            me.dawdle(400);
        }
        Job::Chain { set, other } => {
            me.section(set, |me| {
                me.lock(other);
                let next = world.sets[other].first.load(Acquire) + 1;
                me.half(other, false, next);
                me.half(other, true, next);
                // Its own lock is left: the section goes on.
                world.locks[other].serves.fetch_add(1, Release);
                me.region.holds.store(set as u64 + 1, Relaxed);
                me.region.header.lock_sequence.fetch_add(1, AcqRel);
                me.step(|word| word.with_locks(word.locks() - 1));
            });
            me.dawdle(400);
        }
        Job::Family { set } => me.family(set),
        Job::Asker { set } => {
            me.section(set, |me| {
                let number = world.asked.fetch_add(1, AcqRel) + 1;
                let backoff = Backoff::new();
                while world.answered.load(Acquire) < number && world.going_on() {
                    backoff.snooze();
                }
                me.dawdle(100);
            });
            me.sleep(400);
        }
        _ => {
            let asked = world.asked.load(Acquire);
            me.single(PAIRS - 1, false);
            world.answered.store(asked, Release);
        }
    }
}
