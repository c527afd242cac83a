//! What the freezer does: it obeys `gate::drain` and reads with `gate::summary`.
//!
//! A pass is not atomic: each word is a read of its own, threads before their
//! process, as the command does it.

use super::oracle;
use super::state::{Freezer, Member, Phase, Row, State, Step, Verdict};
use super::{Fault, Protocol, TICK};
use gate::admission::{Admission, Grant, must_revoke};
use gate::control::{ANY_SEQUENCE, Rank};
use gate::drain::{Action, Answer, Drain, Limits, Order, Outcome};
use gate::scratch::{Holder, Place, Scratch};
use gate::settled::{HelperState, settled};
use gate::summary::Summary;
use gate::summary::summarize;
use gate::thaw::{Thaw, ThawAction};
use gate::view::{LockFile, ProcessView, ThreadView};
use gate::word::{Doing, ThreadWord};
use std::hash::{DefaultHasher, Hash, Hasher};

impl Protocol {
    /// Can the freezer do a step now?
    pub fn freezer_can_step(&self, s: &State) -> bool {
        match &s.freezer.phase {
            Phase::Finished => false,
            Phase::Draining(Action::Pass) | Phase::Thawing(ThawAction::Pass) => {
                !self.would_reread(s)
            }
            Phase::Draining(Action::AwaitMoved) => s.freezer.held.iter().all(|&(p, t, word)| {
                let proc = &s.procs[p as usize];
                let now = s.region_of(p as usize).map(|region| region.words[t as usize].0);
                let asks_only = self.fault == Fault::AskingIsMoving && now != Some(word);
                asks_only || !proc.alive || now.is_none_or(|now| now.has_moved(word))
            }),
            _ => true,
        }
    }

    /// Would its next pass read what the last one read, and learn nothing?
    pub fn would_reread(&self, s: &State) -> bool {
        matches!(s.freezer.phase, Phase::Draining(Action::Pass) | Phase::Thawing(ThawAction::Pass))
            && s.freezer.stale == Some(self.readable(s))
    }

    /// The thread whose word is read next.
    fn read_next(&self, s: &State) -> Option<(usize, usize)> {
        let mut reads = match s.freezer.phase {
            Phase::Reading => s.freezer.reads,
            Phase::Draining(Action::Pass) | Phase::Thawing(ThawAction::Pass) => 0,
            _ => return None,
        };
        for member in &s.freezer.list {
            let words = member.region.map_or(0, |at| s.regions[at as usize].words.len()) as u16;
            if reads > words {
                reads -= words + 1;
                continue;
            }
            // Stores go to the region that the process has now.
            let same = s.procs[member.proc as usize].region == member.region;
            return (reads < words && same).then_some((member.proc as usize, reads as usize));
        }
        None
    }

    /// How many stores are there that the next read may see or not?
    pub fn unseen(&self, s: &State) -> u8 {
        self.read_next(s).map_or(0, |(p, t)| s.procs[p].threads[t].buffer.len() as u8)
    }

    /// One step of the freezer.
    pub fn freezer_step(&self, s: &mut State, stores: u8) {
        if let Some((p, t)) = self.read_next(s) {
            (0..stores).for_each(|_| self.flush(s, p, t));
        }
        match s.freezer.phase.clone() {
            Phase::HelperState => self.start(s),
            Phase::Draining(ask) => self.drain(s, ask),
            Phase::Reading => self.read(s),
            Phase::Comparing => self.compared(s),
            Phase::Snapshot => {
                let f = &mut s.freezer;
                // Without patience: what an asking thread shows must not need any.
                let mut thaw = Thaw::new(f.drained, f.deadline, 0);
                f.phase = Phase::Thawing(thaw.next(Answer::Done(s.time)));
                f.thaw = Some(thaw);
            }
            Phase::Thawing(ask) => self.thaw(s, ask),
            Phase::Finished => unreachable!(),
        }
    }

    fn start(&self, s: &mut State) {
        let (time, limit) = (s.time, self.scenario.limit);
        if self.fault != Fault::AdmissionsLeft {
            s.places.clear();
        }
        let deadline = (time + limit).max(s.last_deadline + 1);
        let from = match self.scenario.senders {
            0 => Rank::First,
            _ if self.fault == Fault::OneRank => Rank::First,
            _ => Rank::Sender,
        };
        let order = if self.scenario.hands == 0 || self.fault == Fault::NoRest {
            Order {
                from,
                drain: self.scenario.drain,
                quiesced_after: if self.scenario.patient { TICK } else { 0 },
                quiesced_within: 1 << 38,
            }
        } else {
            Order { from, drain: u64::MAX, quiesced_after: u64::MAX, quiesced_within: u64::MAX }
        };
        let limits = Limits {
            deadline,
            drain_until: time + self.scenario.drain,
            stuck_after: self.scenario.stuck,
            openings: self.scenario.openings,
            order: (self.scenario.first != 0 && self.fault != Fault::NoOrder).then_some(order),
        };
        let mut drain = Drain::new(limits);
        self.rescan(s);
        let before = self.fault == Fault::ComparedBefore;
        let unaccounted = if before { self.unaccounted(s) } else { 0 };
        let f = &mut s.freezer;
        f.unaccounted = unaccounted;
        f.list.clear();
        f.verdict = None;
        f.arrivals = false;
        f.phase = Phase::Draining(drain.next(Answer::Done(time)));
        f.drain = Some(drain);
        self.rescan(s);
    }

    /// Brings the list up to date; a new image counts as new.
    fn rescan(&self, s: &mut State) -> u32 {
        let mut newcomers = 0;
        for (at, proc) in s.procs.iter().enumerate().filter(|(_, proc)| proc.alive) {
            let fresh_fork = proc.region.is_none() && !proc.execed;
            let now = Member { proc: at as u8, region: proc.region, fresh_fork };
            match s.freezer.list.iter_mut().find(|member| member.proc == now.proc) {
                Some(member) if *member == now => {}
                Some(member) if self.fault == Fault::NewImageIsOld && member.region.is_some() => {}
                Some(member) => {
                    *member = now;
                    newcomers += 1;
                }
                None => {
                    s.freezer.list.push(now);
                    newcomers += 1;
                }
            }
        }
        newcomers
    }

    fn tell(&self, s: &mut State, answer: Answer) {
        let mut drain = s.freezer.drain.expect("a drain is under way");
        let mut ask = drain.next(answer);
        let quiet = |seen: Summary| seen.in_flight == 0 && seen.outstanding == 0;
        if let (Fault::OnePass, Action::Pass, Answer::Seen(seen, _)) = (self.fault, ask, answer)
            && quiet(seen)
        {
            ask = drain.next(answer);
        }
        let believes = matches!(self.fault, Fault::ListedIsDrained | Fault::OnePass);
        if believes
            && (ask, answer) == (Action::Pass, Answer::Newcomers(0))
            && quiet(s.freezer.last)
        {
            ask = drain.next(Answer::Seen(s.freezer.last, s.time));
        }
        if ask == Action::Pause {
            if self.fault == Fault::SettledKept && self.scenario.settled {
                let found: Vec<_> = Reading::of(self, s).judge(self, s, |views| {
                    let over = (0..views.len()).filter(|&at| self.is_settled(s, at, views));
                    over.map(|at| (s.freezer.list[at].proc, views[at].process)).collect()
                });
                s.freezer.settled = found;
            }
            ask = drain.next(Answer::Done(s.time));
        }
        s.freezer.drain = Some(drain);
        s.freezer.phase = Phase::Draining(ask);
    }

    fn drain(&self, s: &mut State, ask: Action) {
        match ask {
            Action::CloseFirst(rank, deadline) => {
                s.senders = deadline;
                if rank == Rank::First {
                    s.early = deadline;
                }
                s.last_deadline = deadline;
                s.freezer.deadline = deadline;
                (s.freezer.rested, s.freezer.rounds) = Default::default();
            }
            Action::Close(deadline) => {
                if self.fault != Fault::FirstAlone {
                    s.barrier = deadline;
                }
                s.early = deadline;
                s.senders = deadline;
                s.last_deadline = deadline;
                s.freezer.deadline = deadline;
            }
            Action::Fence => {
                let after_opening = s.freezer.drain.is_some_and(|drain| drain.openings() > 0);
                let left_out = self.fault == Fault::NoFence
                    || (self.fault == Fault::NoFenceAfterOpening && after_opening);
                if !left_out {
                    self.fence(s);
                }
            }
            Action::Pass => {
                s.freezer.stale = None;
                s.freezer.rows.clear();
                s.freezer.reads = 0;
                s.freezer.phase = Phase::Reading;
                return self.read(s);
            }
            Action::Rescan => {
                let blind = self.fault == Fault::NoSearch && s.freezer.last.in_flight > 0;
                let newcomers = if blind { 0 } else { self.rescan(s) };
                if newcomers > 0 {
                    s.freezer.stale = None;
                }
                return self.tell(s, Answer::Newcomers(newcomers));
            }
            Action::Admit(candidate) => {
                s.places.push(candidate);
                s.freezer.given.push(Grant { candidate });
            }
            Action::Revoke => {
                let (reading, given) = (Reading::of(self, s), s.freezer.given.clone());
                let done = reading.judge(self, s, |views| {
                    given.iter().map(|g| must_revoke(g, views)).collect::<Vec<_>>()
                });
                for (given, done) in given.iter().zip(done) {
                    if done {
                        s.places.retain(|place| *place != given.candidate);
                        s.freezer.given.retain(|one| one != given);
                    }
                }
            }
            Action::Open => {
                s.barrier = 0;
                s.early = 0;
                s.senders = 0;
                let list = s.freezer.list.iter().filter_map(|m| m.region.map(|at| (m.proc, at)));
                let words = list.flat_map(|(p, at)| {
                    let words = s.regions[at as usize].words.iter().enumerate();
                    words.map(move |(t, word)| (p, t as u8, word.0))
                });
                s.freezer.held = words.filter(|(_, _, word)| word.doing() == Doing::Held).collect();
            }
            Action::AwaitMoved => s.freezer.held.clear(),
            Action::Pause => unreachable!("merged with what follows"),
            Action::Done(Outcome::Drained) => {
                s.freezer.drained = s.freezer.last;
                s.freezer.phase = Phase::Snapshot;
                return oracle::drained(s, self);
            }
            Action::Done(Outcome::NotDrained) => return self.end(s, Verdict::NotDrained),
        }
        self.tell(s, Answer::Done(s.time));
    }

    /// `membarrier`: what every thread has stored becomes visible.
    fn fence(&self, s: &mut State) {
        for p in 0..s.procs.len() {
            for t in 0..s.procs[p].threads.len() {
                self.flush_all(s, p, t);
            }
        }
    }

    /// The next read of a pass; after the last one, what follows from it.
    fn read(&self, s: &mut State) {
        let mut reads = s.freezer.reads;
        let list = s.freezer.list.clone();
        for (at, member) in list.iter().enumerate() {
            let words = member.region.map_or(0, |at| s.regions[at as usize].words.len()) as u16;
            if reads > words {
                reads -= words + 1;
                continue;
            }
            if s.freezer.rows.len() <= at {
                s.freezer.rows.push(Row::default());
            }
            self.read_one(s, at, *member, reads as usize);
            s.freezer.reads += 1;
            if at + 1 < list.len() || reads < words {
                return;
            }
        }
        s.freezer.reads = 0;
        self.pass_done(s);
    }

    fn read_one(&self, s: &mut State, at: usize, member: Member, which: usize) {
        let asleep = self.scenario.hands > 0 && self.is_asleep(s, member.proc as usize);
        let (rows, procs, regions) = (&mut s.freezer.rows, &s.procs, &s.regions);
        let s_files = &s.lock_files;
        let (proc, row) = (&procs[member.proc as usize], &mut rows[at]);
        row.gone |= !proc.alive;
        row.asleep |= !proc.alive;
        row.family = member.fresh_fork;
        let Some(region) = member.region.map(|at| &regions[at as usize]) else {
            // Whether it sleeps says the kernel, also where it has shown no region yet.
            row.asleep |= asleep;
            return;
        };
        if let Some(word) = region.words.get(which) {
            row.words.push(*word);
            return;
        }
        row.process = region.process;
        row.lock_sequence = region.lock_sequence;
        row.holds = region.holds;
        row.asleep = asleep;
        row.waits = proc.threads.iter().any(|thread| thread.step == Step::Sleeping);
        row.family = !region.after_exec;
        let there = (0..s_files.len()).filter(|file| s_files[*file].is_some());
        let there = there.fold(0u8, |bits, file| bits | 1 << file);
        let files = self.scenario.files();
        row.files_gone = region.holds != 0
            && region.holds & !files == 0
            && region.holds & there == 0
            && !region.lost
            && self.fault != Fault::FileOutlives;
    }

    /// Would a pass made now read what this one has read?
    fn is_fresh(&self, s: &State) -> bool {
        let mut again = s.clone();
        again.freezer.rows = vec![Row::default(); s.freezer.rows.len()];
        for (at, member) in s.freezer.list.iter().enumerate() {
            let words = member.region.map_or(0, |at| s.regions[at as usize].words.len());
            (0..=words).for_each(|which| self.read_one(&mut again, at, *member, which));
        }
        again.freezer.rows == s.freezer.rows
    }

    fn summary(&self, s: &State) -> Summary {
        Reading::of(self, s).judge(self, s, |views| {
            with_room(views, |scratch| summarize(views, &s.freezer.given, scratch))
        })
    }

    /// All words are read: before a drain is believed, and as long as that has found something, the
    /// accounts are held against the kernel's locks.
    fn pass_done(&self, s: &mut State) {
        let Some(drain) = s.freezer.drain.filter(|_| s.freezer.thaw.is_none()) else {
            return self.judged(s);
        };
        let due = drain.believes_next_pass() && self.summary(s).in_flight == 0;
        let compares = ![
            Fault::NotCompared,
            Fault::ComparedBefore,
            Fault::ReapAsksNothing,
            Fault::OverflowForgotten,
            // A new image's locks are none of its old region's: the comparison would catch it.
            Fault::NewImageIsOld,
        ]
        .contains(&self.fault);
        if compares && (due || drain.is_under_way() && s.freezer.unaccounted != 0) {
            s.freezer.phase = Phase::Comparing;
            return;
        }
        self.judged(s);
    }

    fn compared(&self, s: &mut State) {
        s.freezer.unaccounted = self.unaccounted(s);
        self.judged(s);
    }

    /// The members with a lock that the kernel shows and no region accounts for.
    fn unaccounted(&self, s: &State) -> u128 {
        let list = &s.freezer.list;
        let region_of = |at: usize| list[at].region.map(|region| &s.regions[region as usize]);
        let alive = |at: &usize| s.procs[list[*at].proc as usize].alive;
        let others_account = |at: usize, lock: usize| {
            let mut others = (0..list.len()).filter(alive).filter(|other| *other != at);
            others.any(|other| {
                // A lock file has no descriptors.
                let has = self.scenario.files() & 1 << lock != 0
                    || s.locks[lock] & 1u128 << list[other].proc != 0;
                has && region_of(other).is_some_and(|region| region.holds & 1 << lock != 0)
            })
        };
        let mut found = 0u128;
        for at in (0..list.len()).filter(alive) {
            let p = list[at].proc;
            for lock in 0..s.locks.len() {
                let file = self.scenario.files() & 1 << lock != 0;
                // One that has done nothing since the fork maps the region of its parent.
                let from = region_of(at).map(|region| region.came).or_else(|| {
                    let parent = &s.procs[s.procs[p as usize].parent? as usize];
                    let region = &s.regions[parent.region? as usize];
                    (!parent.alive && self.fault != Fault::FreshForkHasNothing)
                        .then_some(region.holds | region.came)
                });
                let came_file = from.is_some_and(|came| came & 1 << lock != 0);
                let held = match file {
                    true => came_file && s.lock_files[lock].is_some(),
                    false => s.locks[lock] & 1u128 << p != 0,
                };
                let (own, came) = match region_of(at) {
                    Some(region) => (region.holds & 1 << lock != 0, region.came & 1 << lock != 0),
                    None => (false, list[at].fresh_fork),
                };
                let trusted = self.fault == Fault::InheritedIsAccounted;
                let accounted = own || came && (trusted || others_account(at, lock));
                found |= ((held && !accounted) as u128) << at;
            }
        }
        found
    }

    fn judged(&self, s: &mut State) {
        let mut fresh = self.is_fresh(s);
        let given = s.freezer.given.clone();
        let mut seen = self.summary(s);
        match self.fault {
            Fault::NoAdmission => seen.candidate = None,
            Fault::ExecNotAdmitted => {
                let came_over = |a: &Admission| {
                    let process = s.regions[a.nonce as usize - 1].process;
                    process.section_open() && !process.recorded()
                };
                seen.candidate = seen.candidate.filter(|a| !came_over(a));
            }
            Fault::AdmissionKept => seen.revocable = false,
            Fault::AdmissionForgotten => {
                seen.revocable = false;
                seen.outstanding = 0;
            }
            _ => {}
        }
        // Places whose lock sequence has moved, whose process is dead or has
        // become something else, are free again.
        let lapsed = |g: &Grant, s: &State| {
            let at = g.candidate.nonce as u8 - 1;
            let list = s.freezer.list.iter().zip(&s.freezer.rows);
            let gone = list.filter(|(m, _)| m.region == Some(at)).all(|(_, row)| row.gone);
            let sequence = s.regions[at as usize].lock_sequence;
            gone || ![ANY_SEQUENCE, sequence].contains(&g.candidate.lock_sequence)
        };
        let ended: Vec<Grant> = given.iter().filter(|g| lapsed(g, s)).copied().collect();
        fresh &= ended.is_empty();
        for one in &ended {
            s.freezer.given.retain(|g| g != one);
            s.places.retain(|place| *place != one.candidate);
        }
        let rounds = s.freezer.rounds;
        if s.freezer.drain.is_some_and(|drain| drain.awaits_quiesced()) && self.scenario.hands > 0 {
            seen.quiesced = self.has_come_to_rest(s);
        }
        s.freezer.last = seen;
        let answer = Answer::Seen(seen, s.time);
        if let Some(mut thaw) = s.freezer.thaw {
            let ask = thaw.next(answer);
            s.freezer.early_clock = s.time;
            s.freezer.thaw = Some(thaw);
            s.freezer.phase = Phase::Thawing(ask);
        } else {
            self.tell(s, answer);
            // Not quiet, and nothing has moved: the same again, but for newcomers.
            let quiet = seen.in_flight == 0 && seen.outstanding == 0;
            let calm = s.freezer.drain.is_some_and(|drain| drain.awaits_quiesced());
            let again = !quiet && s.freezer.phase == Phase::Draining(Action::Rescan);
            let same = s.freezer.rounds == rounds;
            let waits = calm && same && s.freezer.phase == Phase::Draining(Action::Pass);
            if fresh && (again || waits) {
                s.freezer.stale = Some(self.readable(s));
            }
        }
        if !matches!(s.freezer.phase, Phase::Draining(Action::Revoke)) {
            s.freezer.rows.clear();
        }
    }

    /// Has the news of the first ones gone through all hands, by the pass just read?
    fn has_come_to_rest(&self, s: &mut State) -> bool {
        let f = &mut s.freezer;
        let hands = self.scenario.hands - (self.fault == Fault::OneHandLess) as u32;
        let mut all = true;
        for (at, member) in f.list.iter().enumerate() {
            f.rested |= (f.rows[at].asleep as u8) << at;
            let asked = f.rounds.asks(self.scenario.rank(member.proc as usize) != Rank::Last);
            all &= !asked || f.rested & 1 << at != 0;
        }
        if all {
            f.rounds.next();
            f.rested = 0;
        }
        f.rounds.are_over(hands)
    }

    /// All that a pass reads and a decision depends on.
    fn readable(&self, s: &State) -> u64 {
        let mut hasher = DefaultHasher::new();
        (s.time, &s.regions, s.family, s.locks, s.lock_files).hash(&mut hasher);
        for (p, proc) in s.procs.iter().enumerate() {
            let sleeps = proc.threads.iter().any(|thread| thread.step == Step::Sleeping);
            let asleep = self.scenario.hands > 0 && self.is_asleep(s, p);
            (proc.alive, proc.region, sleeps, asleep).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn thaw(&self, s: &mut State, ask: ThawAction) {
        match ask {
            ThawAction::Fence => {
                if ![Fault::NoFence, Fault::NoFenceAtThaw].contains(&self.fault) {
                    self.fence(s);
                }
                let mut thaw = s.freezer.thaw.expect("it thaws");
                s.freezer.phase = Phase::Thawing(thaw.next(Answer::Done(s.time)));
                s.freezer.thaw = Some(thaw);
            }
            ThawAction::Pass => self.drain(s, Action::Pass),
            ThawAction::Open => {
                s.barrier = 0;
                s.early = 0;
                s.senders = 0;
                let clock = match self.fault {
                    Fault::FreezerIgnoresLease => 0,
                    Fault::ClockFirst => s.freezer.early_clock,
                    _ => s.time,
                };
                let mut thaw = s.freezer.thaw.expect("it thaws");
                let ThawAction::Done(result) = thaw.next(Answer::Done(clock)) else {
                    unreachable!()
                };
                let verdict = result.map_or_else(Verdict::Broken, |()| Verdict::Consistent);
                self.end(s, verdict);
            }
            ThawAction::Pause | ThawAction::Done(_) => unreachable!("no patience; merged"),
        }
    }

    fn end(&self, s: &mut State, verdict: Verdict) {
        oracle::judged(s, self, verdict);
        s.places.clear();
        self.over(s, verdict);
    }

    /// Nothing of this freeze is left but what lies on the page.
    fn over(&self, s: &mut State, verdict: Verdict) {
        let f = &mut s.freezer;
        let freeze = f.freeze + 1;
        let phase =
            if freeze < self.scenario.freezes { Phase::HelperState } else { Phase::Finished };
        let (arrivals, verdict) = (f.arrivals, Some(verdict));
        *f = Freezer { freeze, phase, arrivals, verdict, ..Freezer::default() };
    }

    /// SIGKILL: the barrier stays up and the admissions stay on the page.
    pub fn kill_freezer(&self, s: &mut State) {
        self.over(s, Verdict::None);
    }
}

/// The rows of a pass, in the form that `gate::summary` wants.
struct Reading {
    threads: Vec<Vec<ThreadView>>,
    holds: Vec<Vec<LockFile>>,
}

impl Reading {
    fn of(protocol: &Protocol, s: &State) -> Reading {
        let thaws = s.freezer.thaw.is_some() && protocol.fault != Fault::AskingHasPassed;
        let file = |lock: u8| LockFile { dev: 1, ino: lock as u64 };
        let rows = &s.freezer.rows;
        let thread = |row: &Row, (word, waits): &(ThreadWord, Option<u8>)| ThreadView {
            word: if thaws { word.not_let_pass() } else { *word },
            waits_for: waits.map(file),
            disregarded: row.gone,
        };
        Reading {
            threads: rows.iter().map(|r| r.words.iter().map(|w| thread(r, w)).collect()).collect(),
            holds: rows
                .iter()
                .map(|r| {
                    (0..8).filter(|lock| !r.gone && r.holds & 1 << lock != 0).map(file).collect()
                })
                .collect(),
        }
    }

    /// Hands the views, settled ones marked, to `judge`.
    fn judge<T>(
        &self,
        protocol: &Protocol,
        s: &State,
        judge: impl Fn(&[ProcessView<'_>]) -> T,
    ) -> T {
        let f = &s.freezer;
        let at_of = |proc: u8| f.list.iter().position(|member| member.proc == proc);
        let mut views: Vec<ProcessView<'_>> = f
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| ProcessView {
                // One that died before it had a region is nobody.
                nonce: if row.gone {
                    State::nonce(f.list[at].region).checked_sub(1).map_or(1 << 32, |n| n + 1)
                } else {
                    State::nonce(f.list[at].region)
                },
                process: row.process,
                lock_sequence: row.lock_sequence,
                threads: &self.threads[at],
                holds: &self.holds[at],
                overflow: 0,
                overflow_entries: 0,
                parent: s.procs[f.list[at].proc as usize].parent.and_then(at_of),
                rank: protocol.scenario.rank(f.list[at].proc as usize),
                settled: row.gone || row.files_gone && row.process.section_open(),
                fresh_fork: f.list[at].fresh_fork,
                unknown: false,
                unaccounted_lock: f.unaccounted & 1 << at != 0 && !row.gone,
                in_doubt: false,
            })
            .collect();
        if protocol.scenario.settled {
            for at in (0..views.len()).filter(|&at| !f.rows[at].gone) {
                views[at].settled = if protocol.fault == Fault::SettledKept {
                    f.settled.contains(&(f.list[at].proc, views[at].process))
                } else {
                    protocol.is_settled(s, at, &views)
                };
            }
        }
        judge(&views)
    }
}

const ROOM: &str = "a model has few processes and locks";

/// Room for one pass: on the stack, since a model makes millions, but for a crowd.
fn with_room<R>(views: &[ProcessView<'_>], judge: impl FnOnce(&mut Scratch<'_>) -> R) -> R {
    const FEW: usize = 8;
    if views.len() <= FEW {
        let (mut places, mut holders) = ([Place::default(); FEW], [Holder::default(); 4 * FEW]);
        return judge(&mut Scratch::for_pass(views, &mut places, &mut holders).expect(ROOM));
    }
    let mut places = vec![Place::default(); views.len()];
    let mut holders = vec![Holder::default(); 4 * views.len()];
    judge(&mut Scratch::for_pass(views, &mut places, &mut holders).expect(ROOM))
}

impl Protocol {
    /// Does the section of this member count as over, by the pass that was just read?
    fn is_settled(&self, s: &State, at: usize, views: &[ProcessView<'_>]) -> bool {
        let f = &s.freezer;
        let region = f.list[at].region.map(|at| &s.regions[at as usize]);
        let held = self.fault == Fault::HeldForkTrusted && views[at].held();
        let unchanged = held || region.is_some_and(|region| region.family_at_fork == s.family);
        let state = |at: usize| {
            let row = &f.rows[at];
            HelperState { waits: row.waits, family: row.family, gone: row.gone }
        };
        with_room(views, |scratch| settled(at, views, unchanged, scratch, state))
    }
}
