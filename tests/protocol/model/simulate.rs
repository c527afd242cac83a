//! A walk through a scenario by chance: one seed, one walk, always the same.
//!
//! The scheduler has moods, by seed too: some threads run often and some hardly ever (a wake-up that comes
//! late, or not before all others have had theirs), one may run many steps on end, the clock may jump, and
//! deaths come early or late.

use super::oracle::{ENDS, NAMES, all_done};
use super::state::{State, Verdict};
use super::{Action, Protocol};
use stateright::Model;

/// splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a walk came to.
pub struct Walk {
    pub steps: usize,
    /// The property that it violated.
    pub violated: Option<&'static str>,
    /// It went to its end, where nobody can do any more.
    pub ended: bool,
    /// Some freeze of it said CONSISTENT; under so many processes.
    pub consistent: bool,
    pub processes: usize,
}

/// How willing the scheduler is, by seed.
struct Mood {
    /// Of each process, the freezer last but one, the rest last.
    weights: [u64; 66],
    tick: u64,
    kill: u64,
    /// Of 256: that who ran goes on.
    goes_on: u64,
    /// Steps of the clock in one.
    jump: u64,
}

impl Mood {
    fn new(random: &mut Random) -> Mood {
        const OF: [u64; 6] = [1, 4, 16, 16, 16, 64];
        let mut weights = [0; 66];
        for weight in &mut weights {
            *weight = OF[random.below(OF.len() as u64) as usize];
        }
        Mood {
            weights,
            tick: [0, 1, 1, 4, 16][random.below(5) as usize],
            kill: [0, 1, 1, 4][random.below(4) as usize],
            goes_on: [0, 0, 128, 230][random.below(4) as usize],
            jump: [1, 1, 1, 10, 1000][random.below(5) as usize],
        }
    }

    fn weight(&self, action: &Action) -> u64 {
        match *action {
            Action::Freezer(_) => self.weights[64] * 4,
            Action::Worker(p, _) | Action::Publish(p) | Action::Exit(p) => {
                self.weights[p as usize % 64]
            }
            Action::Flush(..) => self.weights[65],
            Action::Signal(..) | Action::Return(..) => 4,
            Action::Tick => self.tick,
            Action::Kill(_) | Action::KillFreezer => self.kill,
        }
    }
}

fn actor(action: &Action) -> (u8, u8) {
    match *action {
        Action::Freezer(_) => (255, 0),
        Action::Worker(p, t) => (p, t),
        _ => (254, 0),
    }
}

/// One of these; none where all that is left has no weight but is possible, the first of it.
fn choose(actions: &[Action], mood: &Mood, last: (u8, u8), random: &mut Random) -> Action {
    if random.below(256) < mood.goes_on {
        let same: Vec<_> = actions.iter().filter(|action| actor(action) == last).collect();
        if !same.is_empty() {
            return *same[random.below(same.len() as u64) as usize];
        }
    }
    let all: u64 = actions.iter().map(|action| mood.weight(action)).sum();
    if all == 0 {
        return actions[random.below(actions.len() as u64) as usize];
    }
    let mut left = random.below(all);
    for action in actions {
        let weight = mood.weight(action);
        if left < weight {
            return *action;
        }
        left -= weight;
    }
    unreachable!("the weights' sum")
}

/// Walks until nobody can do any more, a property is violated, or `most` steps are done.
pub fn walk(protocol: &Protocol, seed: u64, most: usize) -> Walk {
    let mut random = Random::new(seed);
    let mut mood = Mood::new(&mut random);
    let mut s: State = protocol.init_states().remove(0);
    let (mut actions, mut last, mut found) = (Vec::new(), (254, 0), None);
    let (mut steps, mut ended, mut consistent) = (0, false, false);
    while steps < most {
        actions.clear();
        protocol.actions(&s, &mut actions);
        if actions.is_empty() {
            ended = true;
            if !all_done(&s, protocol) {
                found = Some(ENDS);
            }
            break;
        }
        let action = choose(&actions, &mood, last, &mut random);
        last = actor(&action);
        protocol.apply(&mut s, action);
        if action == Action::Tick {
            for _ in 1..mood.jump {
                protocol.apply(&mut s, Action::Tick);
            }
        }
        steps += 1;
        // Moods change: who was starved runs again, or the other way round.
        if steps % 512 == 0 {
            mood = Mood::new(&mut random);
        }
        consistent |= s.freezer.verdict == Some(Verdict::Consistent);
        if s.wrong != 0 {
            found = NAMES.iter().find(|(bit, _)| s.wrong & bit != 0).map(|(_, name)| *name);
            break;
        }
    }
    Walk { steps, violated: found, ended, consistent, processes: s.procs.len() }
}
