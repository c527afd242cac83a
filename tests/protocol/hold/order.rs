//! Who is held first, and when the others are. (In its order of steps: `hold_in_order` of `src/hold/tracer.rs`,
//! and `src/hold/order.rs`.)

use super::world::{Fault, Op, State, UNTIL, World};
use gate::hold::{Answer, Hold, Limits};
use gate::quiesce::{HANDS, Rounds};

/// What the first ones did last, on its way through the others.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct News {
    rounds: Rounds,
    /// Seen to wait in this round.
    waited: Vec<u8>,
    /// Who is asked next.
    next: u8,
    /// One that was asked was awake.
    awake: bool,
}

impl World {
    /// A hold begins, of those that run into it now.
    pub fn begin(s: &mut State) {
        s.machine = Hold::new(Limits { until: UNTIL, pause: 1 });
        s.action = s.machine.next(Answer::Done(0));
    }

    pub fn names_first(&self) -> bool {
        !self.first.is_empty() && self.fault != Fault::FirstIgnored
    }

    /// The first ones are at rest.
    pub fn first_rest(&self, s: &mut State) {
        let mut rounds = Rounds::default();
        rounds.next();
        s.news = Some(News { rounds, waited: Vec::new(), next: 0, awake: false });
        if self.fault == Fault::NewsNotAwaited {
            self.hold_others(s);
        }
    }

    /// One of the others is asked.
    pub fn ask(&self, s: &mut State) {
        let Some(mut news) = s.news.take() else { return };
        let pid = news.next;
        let is_asked = (pid as usize) < s.parents.len() && self.is_aside(s, pid);
        if is_asked && !news.waited.contains(&pid) {
            if self.waits(s, pid) {
                news.waited.push(pid);
            } else {
                news.awake = true;
            }
        }
        news.next += 1;
        if news.next as usize >= s.parents.len() {
            if !news.awake {
                news.rounds.next();
                news.waited.clear();
            }
            (news.next, news.awake) = (0, false);
        }
        let hands = if self.fault == Fault::OneHand { 1 } else { HANDS };
        let is_over = news.rounds.are_over(hands);
        s.news = Some(news);
        if is_over {
            self.hold_others(s);
        }
    }

    /// Do all its threads wait for another's doing?
    fn waits(&self, s: &State, proc: u8) -> bool {
        s.threads.iter().filter(|t| t.proc == proc).all(|t| match self.op(t) {
            None => true,
            Some(Op::Hear(channel)) => s.messages[channel] == 0,
            Some(Op::Wait) => !self.children_over(s, proc),
            Some(_) => false,
        })
    }

    fn hold_others(&self, s: &mut State) {
        (s.aside, s.all_listed, s.news) = (false, false, None);
        s.first = self.first_ones(s);
        s.let_go.clear();
        World::begin(s);
    }

    fn first_ones(&self, s: &State) -> Vec<u8> {
        (0..s.parents.len() as u8).filter(|proc| self.is_first(s, *proc)).collect()
    }

    /// All are at rest: were they so in that order? Else it begins anew.
    pub fn in_order(&self, s: &mut State) -> bool {
        let ran = |proc: &u8| s.let_go.contains(proc) || !s.first.contains(proc);
        let kept = !self.names_first()
            || self.fault == Fault::OrderedOnce
            || !self.first_ones(s).iter().any(ran);
        if !kept {
            s.aside = true;
            let aside: Vec<bool> = s.threads.iter().map(|t| self.is_aside(s, t.proc)).collect();
            for (thread, _) in s.threads.iter_mut().zip(aside).filter(|(_, aside)| *aside) {
                (thread.asked, thread.stopped) = (false, false);
            }
            World::begin(s);
        }
        kept
    }
}
