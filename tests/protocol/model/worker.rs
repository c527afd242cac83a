//! What workers do: the library's order of steps, with the gate's own decisions.
//!
//! Every function is one step that nothing can come between. A store to the
//! thread's word goes into the thread's buffer unless it is a locked one.

use super::oracle;
use super::scenario::bit;
use super::state::{Interrupted, Op, Proc, Region, State, Step, Thread};
use super::{Fault, Protocol};
use gate::calls::Call;
use gate::control::{Rank, holds};
use gate::entry::{Enclosing, Look, may_pass};
use gate::word::{Doing, ProcessWord, ThreadWord, recorded_at_fork};

/// The number of the call that an op stands for: a fork is told from the others.
fn number(op: Op) -> u16 {
    if matches!(op, Op::Fork(_)) { Call::fork as u16 } else { Call::write as u16 }
}

impl Protocol {
    /// What this thread is at.
    pub fn op(&self, thread: &Thread) -> Option<Op> {
        self.scenario.programs[thread.program as usize].get(thread.at as usize).copied()
    }

    /// Has this thread nothing more to do?
    pub fn is_over(&self, thread: &Thread) -> bool {
        thread.interrupted.is_none() && matches!(self.op(thread), None | Some(Op::Stay))
    }

    /// Can this thread do a step now?
    pub fn can_step(&self, s: &State, p: usize, t: usize) -> bool {
        let proc = &s.procs[p];
        let thread = &proc.threads[t];
        let Some(op) = self.op(thread) else { return false };
        if !proc.alive || proc.region.is_none() || op == Op::Stay {
            return false;
        }
        match (thread.step, op) {
            (Step::Next, Op::Wait) => {
                !s.procs.iter().any(|child| child.parent == Some(p as u8) && child.alive)
            }
            (Step::Next, Op::Await(file)) => s.files[file as usize] > 0,
            (Step::LockWait, Op::Lock(lock)) => s.locks[lock as usize] == 0,
            (Step::Next | Step::Begun, Op::Make(file)) => s.lock_files[file as usize].is_none(),
            (Step::Next, Op::Remove(file)) => s.lock_files[file as usize].is_some(),
            // It sleeps in slices: it goes on as soon as a look would let it.
            (Step::Held, _) => {
                self.look(s, p, &mut thread.clone()) != Look::Closed || self.permitted(s, p, t)
            }
            _ => true,
        }
    }

    /// Does this process sleep until others have done something?
    pub fn is_asleep(&self, s: &State, p: usize) -> bool {
        let proc = &s.procs[p];
        let sleeps = |t: usize| {
            let thread = &proc.threads[t];
            let waits = matches!(self.op(thread), Some(Op::Wait | Op::Await(_)));
            let waits = waits && thread.step == Step::Next && !self.can_step(s, p, t);
            waits || thread.step == Step::Held || self.is_over(thread) && proc.parent.is_none()
        };
        !proc.alive || proc.region.is_some() && (0..proc.threads.len()).all(sleeps)
    }

    /// The word that this process looks at.
    fn barrier(&self, s: &State, p: usize) -> u64 {
        match self.scenario.rank(p) {
            Rank::Sender => s.senders,
            Rank::First => s.early,
            Rank::Last => s.barrier,
        }
    }

    fn look(&self, s: &State, p: usize, thread: &mut Thread) -> Look {
        let barrier = self.barrier(s, p);
        if self.fault == Fault::WorkerIgnoresLease && barrier != 0 {
            return Look::Closed;
        }
        if self.fault == Fault::BoundOfEachBarrier {
            thread.patience.until = 0;
        }
        thread.patience.look(barrier, || s.time)
    }

    /// May this process pass a closed barrier?
    fn permitted(&self, s: &State, p: usize, t: usize) -> bool {
        let proc = &s.procs[p];
        let region = s.region_of(p).expect("it runs");
        let nonce = State::nonce(proc.region);
        let admitted =
            s.places.iter().any(|c| holds(c.nonce, c.lock_sequence, nonce, region.lock_sequence));
        let mut word = region.process;
        if self.fault == Fault::SettledOwnerPasses && word.recorded() {
            word = word.section_begun();
        }
        if self.fault == Fault::ExecUnasked && word.section_open() {
            word = word.section_begun();
        }
        let around = match &proc.threads[t].interrupted {
            Some(outer) if outer.word.doing() == Doing::Call => Enclosing::ProtectedCall,
            Some(outer)
                if outer.word.doing() == Doing::Asking
                    && self.fault == Fault::NestedTrustsAsking =>
            {
                Enclosing::ProtectedCall
            }
            _ => Enclosing::Nothing,
        };
        may_pass(word, admitted, around) || (self.fault == Fault::ChildTrusts && proc.inherited)
    }

    /// Does this op announce itself?
    fn is_entry(&self, region: &Region, op: Op) -> bool {
        match op {
            Op::Write(_) | Op::Sync => true,
            Op::Make(file) | Op::Remove(file) => self.scenario.outside & 1 << file == 0,
            Op::Send(_) => self.fault != Fault::SendIsNoChange,
            Op::Fork(_) => region.process.locks() > 0 && self.fault != Fault::ForkIsNoEntry,
            Op::Exec => region.process.locks() > 0 && self.fault != Fault::ExecUnasked,
            _ => false,
        }
    }

    fn store(&self, s: &mut State, p: usize, t: usize, word: ThreadWord, waits: Option<u8>) {
        let thread = &mut s.procs[p].threads[t];
        thread.own = (word, waits);
        thread.buffer.push((word, waits));
        if thread.buffer.len() > self.scenario.buffer {
            self.flush(s, p, t);
        }
    }

    /// The oldest store of this thread becomes visible.
    pub fn flush(&self, s: &mut State, p: usize, t: usize) {
        let proc = &mut s.procs[p];
        if let (false, Some(region)) = (proc.threads[t].buffer.is_empty(), proc.region) {
            let word = proc.threads[t].buffer.remove(0);
            s.regions[region as usize].words[t] = word;
        }
    }

    /// A locked instruction, a fence: all stores of this thread become visible.
    pub fn flush_all(&self, s: &mut State, p: usize, t: usize) {
        while !s.procs[p].threads[t].buffer.is_empty() && s.procs[p].region.is_some() {
            self.flush(s, p, t);
        }
    }

    /// Compare-and-swap on the process word.
    fn swap(&self, s: &mut State, p: usize, t: usize, with: impl Fn(ProcessWord) -> ProcessWord) {
        self.flush_all(s, p, t);
        let region = s.procs[p].region.expect("it runs") as usize;
        s.regions[region].process = with(s.regions[region].process);
    }

    /// One step of one thread.
    pub fn step(&self, s: &mut State, p: usize, t: usize) {
        let thread = &s.procs[p].threads[t];
        let op = self.op(thread).expect("it has something to do");
        let own = thread.own.0;
        match thread.step {
            Step::Next => self.begin(s, p, t, op, own),
            Step::Announced => {
                let mut looked = s.procs[p].threads[t].clone();
                let look = self.look(s, p, &mut looked);
                s.procs[p].threads[t] = looked;
                match look {
                    Look::Open => self.passes(s, p, t),
                    Look::LeaseOver => self.pass_by(s, p, t, look),
                    Look::Closed | Look::Overdue => {
                        // Announce again, by a locked store.
                        if self.fault != Fault::PlainPassing {
                            self.flush_all(s, p, t);
                        }
                        s.procs[p].threads[t].step = Step::Asking;
                    }
                }
            }
            Step::Asking => self.ask(s, p, t),
            Step::Held => {
                if self.fault == Fault::RawAfterHeld {
                    return self.passes(s, p, t);
                }
                self.store(s, p, t, own.enter(Doing::Asking, number(op), None), None);
                s.procs[p].threads[t].step = Step::Announced;
            }
            Step::Passing => {
                self.open_section(s, p, t, op);
                self.grant(s, p, t);
            }
            Step::Begun => self.act(s, p, t, op),
            Step::LockWait => {
                let Op::Lock(lock) = op else { unreachable!() };
                s.locks[lock as usize] = self.sharers(s, p, lock);
                s.procs[p].threads[t].step = Step::Locked;
            }
            Step::Locked => {
                let Op::Lock(lock) = op else { unreachable!() };
                if self.scenario.unseen & 1 << lock == 0 {
                    self.enter_lock(s, p, lock);
                    self.count(s, p, t);
                }
                self.store(s, p, t, own.leave(), None);
                self.done(s, p, t);
            }
            Step::Unlocked => {
                let (Op::Unlock(lock) | Op::Close(lock) | Op::Remove(lock)) = op else {
                    unreachable!()
                };
                if self.scenario.unseen & 1 << lock == 0 {
                    self.ask_for_lost(s, p);
                    self.give_up(s, p, t, lock);
                }
                self.done(s, p, t);
            }
            Step::Made => {
                let Op::Make(file) = op else { unreachable!() };
                self.enter_lock(s, p, file);
                self.count(s, p, t);
                if self.fault == Fault::FileBegins {
                    self.swap(s, p, t, ProcessWord::dotlock_begun);
                }
                self.done(s, p, t);
            }
            Step::Reaped => {
                self.ask_after_child(s, p, t);
                self.done(s, p, t);
            }
            Step::Sleeping => self.done(s, p, t),
        }
    }

    fn begin(&self, s: &mut State, p: usize, t: usize, op: Op, own: ThreadWord) {
        if self.is_entry(s.region_of(p).expect("it runs"), op) {
            self.store(s, p, t, own.enter(Doing::Asking, number(op), None), None);
            s.procs[p].threads[t].step = Step::Announced;
            return;
        }
        match op {
            Op::Lock(lock) => {
                self.store(s, p, t, own.enter(Doing::LockWait, 1, None), Some(lock));
                s.procs[p].threads[t].step = Step::LockWait;
            }
            Op::Unlock(lock) => {
                s.locks[lock as usize] = 0;
                s.procs[p].threads[t].step = Step::Unlocked;
            }
            Op::Close(lock) => {
                s.locks[lock as usize] &= !(1 << p);
                s.procs[p].threads[t].step = Step::Unlocked;
            }
            Op::Make(file) => {
                s.lock_files[file as usize] = Some(p as u8);
                let unseen = self.fault == Fault::FileUnseenWhenClosed && s.barrier != 0;
                s.procs[p].threads[t].step = Step::Made;
                if unseen {
                    self.done(s, p, t);
                }
            }
            Op::Remove(file) => {
                s.lock_files[file as usize] = None;
                s.procs[p].threads[t].step = Step::Unlocked;
            }
            Op::Sleep => s.procs[p].threads[t].step = Step::Sleeping,
            Op::Wait if self.scenario.reaps() => s.procs[p].threads[t].step = Step::Reaped,
            Op::Wait | Op::Await(_) => self.done(s, p, t),
            Op::Fork(_) | Op::Exec | Op::Send(_) => self.act(s, p, t, op),
            Op::Write(_) | Op::Sync | Op::Stay => unreachable!("entries"),
        }
    }

    fn pass_by(&self, s: &mut State, p: usize, t: usize, look: Look) {
        if look == Look::LeaseOver && s.barrier == s.freezer.deadline {
            s.freezer.lease_used = true;
        }
        if look == Look::Overdue {
            s.freezer.overdue = true;
        }
        self.passes(s, p, t);
    }

    /// Let pass: on to the section, if this begins one, else to the call.
    fn passes(&self, s: &mut State, p: usize, t: usize) {
        let op = self.op(&s.procs[p].threads[t]).expect("it has something to do");
        if self.section_step(s, p, op).is_some() {
            s.procs[p].threads[t].step = Step::Passing;
        } else {
            self.grant(s, p, t);
        }
    }

    /// From now on the word shows the call itself.
    fn grant(&self, s: &mut State, p: usize, t: usize) {
        let own = s.procs[p].threads[t].own.0;
        if own.doing() == Doing::Asking {
            self.store(s, p, t, ThreadWord(own.0.wrapping_add(ThreadWord::GRANT)), None);
        }
        s.procs[p].threads[t].step = Step::Begun;
    }

    /// Announced for all to see: look again, ask, or retract and wait.
    fn ask(&self, s: &mut State, p: usize, t: usize) {
        let mut looked = s.procs[p].threads[t].clone();
        let look = self.look(s, p, &mut looked);
        s.procs[p].threads[t] = looked;
        if look != Look::Closed {
            return self.pass_by(s, p, t, look);
        }
        if self.permitted(s, p, t) {
            return self.passes(s, p, t);
        }
        let own = s.procs[p].threads[t].own.0;
        if self.fault != Fault::NoRetract {
            debug_assert_eq!(own.0.wrapping_add(ThreadWord::HOLD), own.retract(Doing::Held).0);
            self.store(s, p, t, own.retract(Doing::Held), None);
            self.flush_all(s, p, t);
        }
        let (now, barrier) = (s.time, self.barrier(s, p));
        let thread = &mut s.procs[p].threads[t];
        thread.step = Step::Held;
        if now >= *thread.bound.get_or_insert(barrier) {
            s.wrong |= oracle::BOUND;
        }
        s.freezer.arrivals |= s.freezer.snapshot.is_some();
    }

    /// What this op does to the process word before it acts.
    fn section_step(&self, s: &State, p: usize, op: Op) -> Option<fn(ProcessWord) -> ProcessWord> {
        let region = s.region_of(p).expect("it runs");
        match op {
            Op::Fork(_) if region.process.locks() > 0 => {
                let trusted = self.fault == Fault::SecondForkTrusted;
                let family = if trusted { region.family_synced } else { s.family };
                let recorded = self.scenario.settled
                    && recorded_at_fork(
                        region.changes,
                        region.synced,
                        family,
                        region.family_synced,
                    );
                Some(if recorded { |word| word.forked(true) } else { |word| word.forked(false) })
            }
            Op::Write(_)
                if self.scenario.until_exit & bit(p) != 0
                    && self.fault != Fault::EndsWithCall
                    && !region.process.section_open() =>
            {
                Some(ProcessWord::until_exit_begun)
            }
            Op::Write(_) | Op::Send(_) | Op::Exec if region.process.would_begin() => {
                Some(ProcessWord::section_begun)
            }
            _ => None,
        }
    }

    /// Before the change, and while the word still announces it.
    fn open_section(&self, s: &mut State, p: usize, t: usize, op: Op) {
        if let Some(step) = self.section_step(s, p, op) {
            if matches!(op, Op::Fork(_)) {
                let trusted = self.fault == Fault::SecondForkTrusted;
                let family = s.family;
                let region = &mut s.regions[s.procs[p].region.expect("it runs") as usize];
                region.family_at_fork = if trusted { family } else { region.family_synced };
            }
            self.swap(s, p, t, step);
        }
    }

    /// The call itself, and the word that is cleared after it.
    fn act(&self, s: &mut State, p: usize, t: usize, op: Op) {
        let region = s.procs[p].region.expect("it runs") as usize;
        let entered = s.procs[p].threads[t].step == Step::Begun;
        match op {
            Op::Write(file) => {
                s.files[file as usize] += 1;
                s.regions[region].changes += 1;
                let uncounted = self.fault == Fault::GrandchildUncounted
                    && s.procs[p].parent.is_some_and(|up| s.procs[up as usize].parent.is_some());
                // Another program has a count of its own.
                let counted = !uncounted && !s.regions[region].after_exec;
                s.family += (self.scenario.settled && counted) as u64;
                oracle::changed(s);
            }
            Op::Send(message) => s.files[message as usize] += 1,
            Op::Make(file) => {
                s.lock_files[file as usize] = Some(p as u8);
                self.enter_lock(s, p, file);
                self.count(s, p, t);
                self.swap(s, p, t, ProcessWord::dotlock_begun);
            }
            Op::Remove(file) => {
                s.lock_files[file as usize] = None;
                self.give_up(s, p, t, file);
            }
            Op::Sync => {
                s.regions[region].synced = s.regions[region].changes;
                s.regions[region].family_synced = s.family;
            }
            Op::Fork(program) => {
                let inherited = s.regions[region].process.locks() > 0 || s.procs[p].inherited;
                let threads = vec![Thread::new(program)];
                let parent = Some(p as u8);
                let child = s.procs.len();
                for lock in (0..s.locks.len()).filter(|lock| self.scenario.shared & 1 << lock != 0)
                {
                    s.locks[lock] |= (s.locks[lock] >> p & 1) << child;
                }
                s.procs.push(Proc {
                    alive: true,
                    parent,
                    region: None,
                    inherited,
                    execed: false,
                    threads,
                });
            }
            Op::Exec => {
                let counted = self.scenario.settled && self.fault != Fault::ExecUncounted;
                s.family += counted as u64;
                self.flush_all(s, p, t);
                let proc = &mut s.procs[p];
                proc.region = None;
                proc.execed = true;
                let program = proc.threads[t].program;
                let at = proc.threads[t].at + 1;
                proc.threads = vec![Thread { at, ..Thread::new(program) }];
                return;
            }
            _ => unreachable!("no entry"),
        }
        if entered {
            let thread = &s.procs[p].threads[t];
            let own = thread.own.0;
            let outer = thread.interrupted.as_ref().map(|outer| outer.word);
            self.store(s, p, t, outer.map_or(own.leave(), |outer| own.resume(outer)), None);
        }
        self.done(s, p, t);
    }

    /// Can a signal handler begin in this thread now?
    pub fn can_interrupt(&self, s: &State, p: usize, t: usize) -> bool {
        let proc = &s.procs[p];
        let thread = &proc.threads[t];
        proc.region.is_some()
            && thread.interrupted.is_none()
            && matches!(self.op(thread), Some(Op::Write(_) | Op::Sync))
            && thread.step != Step::Next
    }

    /// A signal handler begins.
    pub fn interrupt(&self, s: &mut State, p: usize, t: usize) {
        let program = self.scenario.handler;
        let thread = &mut s.procs[p].threads[t];
        let (own, buffer) = (thread.own, std::mem::take(&mut thread.buffer));
        let outer = std::mem::replace(thread, Thread { own, buffer, ..Thread::new(program) });
        thread.interrupted = Some(Interrupted {
            program: outer.program,
            at: outer.at,
            step: outer.step,
            patience: outer.patience,
            bound: outer.bound,
            word: own.0,
        });
    }

    /// It returns.
    pub fn resume(&self, s: &mut State, p: usize, t: usize) {
        let thread = &mut s.procs[p].threads[t];
        let outer = thread.interrupted.take().expect("a handler runs");
        thread.program = outer.program;
        thread.at = outer.at;
        thread.step = outer.step;
        thread.patience = outer.patience;
        thread.bound = outer.bound;
    }

    /// Who has a descriptor of this lock's description, if `p` takes it.
    fn sharers(&self, s: &State, p: usize, lock: u8) -> u128 {
        match s.procs[p].parent {
            Some(parent) if self.scenario.opened_before & 1 << lock != 0 => 1 << p | 1 << parent,
            _ => 1 << p,
        }
    }

    /// Into the table, if there is room.
    fn enter_lock(&self, s: &mut State, p: usize, lock: u8) {
        let region = &mut s.regions[s.procs[p].region.expect("it runs") as usize];
        if region.holds.count_ones() < self.scenario.table {
            region.holds |= 1 << lock;
        } else {
            region.lost = true;
        }
    }

    /// Counts the locks afresh.
    fn count(&self, s: &mut State, p: usize, t: usize) {
        let region = &mut s.regions[s.procs[p].region.expect("it runs") as usize];
        if self.fault == Fault::OverflowForgotten && region.holds == 0 {
            region.lost = false;
        }
        let count = region.holds.count_ones() as u16 + region.lost as u16;
        self.swap(s, p, t, |word| word.with_locks(count));
    }

    fn give_up(&self, s: &mut State, p: usize, t: usize, lock: u8) {
        let region = &mut s.regions[s.procs[p].region.expect("it runs") as usize];
        region.holds &= !(1 << lock);
        region.came &= !(1 << lock);
        region.lock_sequence += 1;
        self.count(s, p, t);
    }

    /// The table was full and is empty: what is held still, the kernel knows. (Before the next
    /// lock is given up.)
    fn ask_for_lost(&self, s: &mut State, p: usize) {
        let locks = s.locks;
        // The lock that is being given up is gone already, here.
        let region = &mut s.regions[s.procs[p].region.expect("it runs") as usize];
        if region.lost && region.holds == 0 {
            region.lost = false;
            let held = (0..locks.len()).filter(|lock| locks[*lock] & 1 << p != 0);
            region.holds = held.fold(0, |bits, lock| bits | 1 << lock);
        }
    }

    /// A child has ended: what it has locked for this process, and which lock file it has left.
    fn ask_after_child(&self, s: &mut State, p: usize, t: usize) {
        if self.fault == Fault::ReapAsksNothing {
            return;
        }
        let locks = (0..s.locks.len()).filter(|lock| s.locks[*lock] & 1 << p != 0);
        let of_child = |file: &usize| {
            s.lock_files[*file].is_some_and(|maker| {
                let maker = &s.procs[maker as usize];
                !maker.alive && maker.parent == Some(p as u8)
            })
        };
        let files = (0..s.lock_files.len()).filter(of_child);
        let found = locks.chain(files).fold(0u8, |bits, lock| bits | 1 << lock);
        s.regions[s.procs[p].region.expect("it runs") as usize].holds |= found;
        self.count(s, p, t);
        if self.fault == Fault::ReapBegins && found != 0 {
            self.swap(s, p, t, ProcessWord::section_begun);
        }
    }

    fn done(&self, s: &mut State, p: usize, t: usize) {
        let thread = &mut s.procs[p].threads[t];
        thread.at += 1;
        thread.step = Step::Next;
        thread.patience = Default::default();
        thread.bound = None;
    }

    /// A new process, or a new image, shows a region of its own.
    pub fn publish(&self, s: &mut State, p: usize) {
        let held = s.locks.iter().enumerate().filter(|(_, holders)| **holders & 1 << p != 0);
        let held = held.fold(0u8, |bits, (lock, _)| bits | 1 << lock);
        let files =
            s.lock_files.iter().enumerate().filter(|(_, maker)| **maker == s.procs[p].parent);
        let files = files.fold(0u8, |bits, (file, maker)| bits | (maker.is_some() as u8) << file);
        // A forked child has taken nothing itself.
        let execed = s.procs[p].execed;
        let (holds, came) = if execed { (held, 0) } else { (0, held | files) };
        let mut process = ProcessWord::default();
        if holds != 0 {
            // What the kernel still shows as held; whether the old image had
            // changed something is not known, so it had.
            process = process.with_locks(holds.count_ones() as u16);
            if self.fault != Fault::ExecForgets {
                process = process.came_over_exec();
            }
        }
        s.procs[p].region = Some(s.regions.len() as u8);
        s.regions.push(Region {
            process,
            lock_sequence: 0,
            holds,
            came,
            lost: false,
            words: vec![Default::default(); s.procs[p].threads.len()],
            changes: 0,
            synced: 0,
            family_synced: s.family,
            family_at_fork: 0,
            after_exec: s.procs[p].execed,
        });
    }

    /// A process is gone, by its own will or killed.
    pub fn die(&self, s: &mut State, p: usize) {
        // Lock files stay.
        for holders in &mut s.locks {
            *holders &= !(1 << p);
        }
        for t in 0..s.procs[p].threads.len() {
            self.flush_all(s, p, t);
        }
        let proc = &mut s.procs[p];
        proc.alive = false;
        // Where it was is nobody's business any more.
        for thread in &mut proc.threads {
            *thread = Thread::new(thread.program);
        }
    }
}
