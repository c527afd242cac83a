//! When the others are held, after those that the profile names `first`: when they have put down what those
//! did last. The rounds are `gate::quiesce`'s, and what shows it is what shows it to the gate
//! (`src/drive/quiesce.rs`); but these processes have no words.

use crate::linux::look::Look;
use crate::linux::{clock, procfs};
use gate::profile::FirstWait;
use gate::quiesce::{HANDS, HANDS_IN_TIME, Rounds};
use std::collections::BTreeSet;

/// It is waited for so long where the profile says nothing (`first-wait`).
const FIRST_WAIT_NS: u64 = 20_000_000;

/// What those that are held first did last, on its way through the others.
pub struct News {
    first_wait: Option<FirstWait>,
    /// The others are held then in any case, or it is given up.
    pub until: u64,
    rounds: Rounds,
    /// Seen to wait in this round.
    waited: BTreeSet<i32>,
    /// Not seen so, when they were asked last.
    awake: BTreeSet<i32>,
}

impl News {
    /// As the profile wants it; `until`: the whole hold is given up then.
    pub fn of(first_wait: Option<FirstWait>, until: u64) -> News {
        let within = match first_wait {
            None => FIRST_WAIT_NS,
            Some(FirstWait::AtMost(ns)) => ns,
            Some(FirstWait::Quiesced) => u64::MAX,
        };
        let mut rounds = Rounds::default();
        // The first ones are at rest: that was their round.
        rounds.next();
        let until = until.min(clock::now_ns().saturating_add(within));
        News { first_wait, until, rounds, waited: BTreeSet::new(), awake: BTreeSet::new() }
    }

    /// Has it gone through all hands? Asked again and again, of those that run on: at most one round is ended
    /// by one asking.
    pub fn is_put_down(&mut self, aside: &[i32]) -> bool {
        let asked = aside.iter().filter(|pid| !self.waited.contains(pid));
        let (waited, awake): (Vec<i32>, Vec<i32>) = asked.partition(|pid| self.waits(**pid));
        self.waited.extend(waited);
        self.awake = BTreeSet::from_iter(awake);
        if self.awake.is_empty() {
            self.rounds.next();
            self.waited.clear();
        }
        self.is_over()
    }

    /// By whom it is given up.
    pub fn never_waited(self) -> BTreeSet<i32> {
        let gives_up = self.first_wait == Some(FirstWait::Quiesced) && !self.is_over();
        if gives_up { self.awake } else { BTreeSet::new() }
    }

    fn is_over(&self) -> bool {
        self.rounds.are_over(match self.first_wait {
            Some(_) => HANDS,
            None => HANDS_IN_TIME,
        })
    }

    fn waits(&self, pid: i32) -> bool {
        if self.first_wait.is_some() {
            return procfs::waits_for_others(pid, false);
        }
        match procfs::threads(pid) {
            Look::Seen(tids) => !tids.into_iter().any(|tid| procfs::works(pid, tid)),
            Look::Gone(_) => true,
            Look::NotSeen(_) => false,
        }
    }
}
