//! What the tracer does of that which `gate::hold` asks for. (In its order of steps: `src/hold/tracer.rs`.)

use super::world::Op::{Lock, Wait};
use super::world::{Fault, State, Thread, World};
use gate::hold::{Action, Answer, Outcome};

impl World {
    pub fn find(&self, s: &mut State) -> u32 {
        if self.fault == Fault::NewThreadMissed && s.listed {
            return 0;
        }
        s.listed = true;
        let mut new = 0;
        let still: Vec<u8> = (0..s.parents.len() as u8)
            .filter(|proc| {
                let mut of_it = s.threads.iter().filter(|t| t.proc == *proc);
                of_it.all(|t| t.ours && (t.stopped || self.op(t).is_none()))
            })
            .collect();
        for at in 0..s.threads.len() {
            if s.complete.contains(&s.threads[at].proc) {
                continue;
            }
            let first = !s.threads[..at].iter().any(|t| t.proc == s.threads[at].proc);
            let forgotten = self.fault == Fault::ThreadForgotten && !first;
            if !s.threads[at].ours && !forgotten && self.op(&s.threads[at]).is_some() {
                s.threads[at].ours = true;
                new += 1;
            }
        }
        let complete: Vec<u8> =
            still.into_iter().filter(|proc| !s.complete.contains(proc)).collect();
        s.complete.extend(complete);
        new
    }

    pub fn let_go(&self, s: &mut State, who: impl Fn(u8) -> bool) {
        s.free = (0..s.parents.len() as u8).filter(|proc| who(*proc)).collect();
        if self.names_first() {
            let new: Vec<u8> =
                s.free.iter().copied().filter(|proc| !s.let_go.contains(proc)).collect();
            s.let_go.extend(new);
        }
        for thread in s.threads.iter_mut().filter(|t| s.free.contains(&t.proc)) {
            (thread.asked, thread.stopped) = (false, false);
        }
    }

    pub fn trace(&self, s: &mut State) {
        if s.news.is_some() {
            return self.ask(s);
        }
        let answer = match s.action {
            Action::Stop => {
                // Who was kept back has stopped there.
                let kept =
                    |t: &Thread| matches!(self.op(t), Some(Lock(_))) && self.is_kept_back(s, t);
                let kept: Vec<bool> = s.threads.iter().map(kept).collect();
                s.threads.iter_mut().zip(kept).for_each(|(t, kept)| t.stopped |= kept);
                s.free.clear();
                s.kept_back.clear();
                s.held_then = s.locks.iter().any(Option::is_some);
                let new = if s.all_listed { 0 } else { self.find(s) };
                let aside: Vec<bool> = s.threads.iter().map(|t| self.is_aside(s, t.proc)).collect();
                let meant = s.threads.iter_mut().zip(aside).filter(|(_, aside)| !aside);
                meant.filter(|(t, _)| t.ours && !t.stopped).for_each(|(t, _)| t.asked = true);
                Answer::New(new, 0)
            }
            Action::Await => {
                let runs = |t: &&Thread| {
                    t.ours && !t.stopped && self.op(t).is_some() && !self.is_aside(s, t.proc)
                };
                Answer::Running(s.threads.iter().filter(runs).count() as u32, 0)
            }
            Action::List => {
                let new = self.find(s);
                s.all_listed = new == 0;
                Answer::New(new, 0)
            }
            Action::Locks => Answer::Holding(self.holders(s), 0),
            Action::LetGo(new_locks) => {
                let waits = |proc: u8| {
                    let of_it = s.threads.iter().filter(|t| t.proc == proc);
                    of_it.clone().any(|t| self.op(t) == Some(Wait))
                };
                let holds: Vec<bool> =
                    (0..s.parents.len()).map(|proc| self.holds(s, proc as u8)).collect();
                let waited: Vec<bool> = (0..s.parents.len())
                    .map(|at| s.parents[at].is_some_and(|up| holds[up as usize] && waits(up)))
                    .collect();
                s.waited |= (0..waited.len()).any(|at| waited[at] && !self.is_over(s, at as u8));
                let alone = self.fault == Fault::HoldersAlone;
                self.let_go(s, |proc| holds[proc as usize] || !alone && waited[proc as usize]);
                let needs =
                    |t: &Thread| matches!(self.op(t), Some(Lock(_))) && holds[t.proc as usize];
                let beside =
                    |t: &Thread| self.op(t) == Some(Wait) && !self.children_over(s, t.proc);
                s.nested |= s.threads.iter().any(|t| {
                    needs(t) && s.threads.iter().any(|other| other.proc == t.proc && beside(other))
                });
                if self.keeps_back(new_locks) {
                    s.kept_back = (0..)
                        .zip(&holds)
                        .filter(|(_, holds)| **holds)
                        .map(|(proc, _)| (proc, true))
                        .collect();
                }
                Answer::Done(0)
            }
            Action::LetAll(new_locks) => {
                if self.fault != Fault::HoldersAlone {
                    self.let_go(s, |_| true);
                }
                if self.keeps_back(new_locks) {
                    s.kept_back = (0..s.parents.len() as u8)
                        .map(|proc| (proc, self.has_lock(s, proc)))
                        .collect();
                }
                Answer::Done(0)
            }
            Action::Pause(_) => Answer::Done(0),
            Action::Done(Outcome::AtRest) if s.aside => return self.first_rest(s),
            Action::Done(Outcome::AtRest) if s.snapshot.is_none() => {
                if !self.in_order(s) {
                    return;
                }
                s.snapshot = Some(s.files);
                s.under_lock |= s.locks.iter().any(Option::is_some);
                s.torn |= s.files[0] != s.files[1];
                return;
            }
            Action::Done(_) => return self.end(s),
        };
        s.action = s.machine.next(answer);
    }

    pub fn holders(&self, s: &State) -> u32 {
        match self.fault {
            Fault::StoppedAnywhere => 0,
            Fault::LocksBeforeStop => s.held_then as u32,
            _ => (0..s.parents.len() as u8).filter(|proc| self.holds(s, *proc)).count() as u32,
        }
    }

    /// The tracer is gone: the kernel lets all run.
    pub fn end(&self, s: &mut State) {
        s.gone = true;
        (s.snapshot, s.news) = (None, None);
        s.kept_back.clear();
        s.threads.iter_mut().for_each(|t| (t.asked, t.stopped, t.ours) = (false, false, false));
    }

    /// Can those that are let go still do something? Then the pause is not over.
    pub fn some_work(&self, s: &State) -> bool {
        let runs = |t: &Thread| s.free.contains(&t.proc) && self.can_run(s, t);
        let holds = s.free.iter().any(|proc| self.has_lock(s, *proc) || self.is_at_work(s, *proc));
        holds && s.threads.iter().any(runs)
    }
}
