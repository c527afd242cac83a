//! The end of a drained freeze: one more pass over everything, the opening, then the clock.

use crate::drive::barrier;
use crate::drive::progress::GateDrain;
use crate::drive::session::Session;
use crate::gatedir::Gate;
use crate::linux::clock;
use gate::drain::Answer;
use gate::thaw::{Broken, Thaw, ThawAction};

/// A thread that seems to pass is given this long to show that it only announced itself and
/// retracts.
const LAST_LOOK_NS: u64 = 20_000_000;
/// Between two such looks.
const LOOK_AGAIN_NS: u64 = 100_000;

/// How a drained gate's freeze ended.
#[derive(Clone, Copy, Debug)]
pub struct Thawed {
    /// The clock after the barrier was down.
    pub opened_at: u64,
    /// Whether it held.
    pub held: Result<(), Broken>,
}

impl Session {
    /// Looks once more at every gate, then lowers every barrier.
    pub fn thaw(&mut self, drains: &mut [GateDrain]) -> Vec<Thawed> {
        let mut thaws = Vec::new();
        for (at, drain) in drains.iter_mut().enumerate() {
            thaws.push(self.last_look(at, drain));
        }
        let lower = |(gate, mut thaw): (&Gate, Thaw)| {
            let opened_at = barrier::lower(gate.page.get());
            let held = match thaw.next(Answer::Done(opened_at)) {
                ThawAction::Done(held) => held,
                _ => Err(Broken::Moved),
            };
            Thawed { opened_at, held }
        };
        self.gates.iter().zip(thaws).map(lower).collect()
    }

    /// Lowers every barrier at once: nothing is judged of a freeze that is given up.
    pub fn open_unjudged(&mut self) -> Vec<Thawed> {
        let lower = |gate: &Gate| Thawed {
            opened_at: barrier::lower(gate.page.get()),
            held: Err(Broken::Moved),
        };
        self.gates.iter().map(lower).collect()
    }

    /// Everything up to the opening of gate `at`.
    fn last_look(&mut self, at: usize, drain: &mut GateDrain) -> Thaw {
        let give_up = clock::now_ns() + LAST_LOOK_NS;
        let mut thaw = Thaw::new(drain.last, drain.deadline(), give_up);
        let mut answer = Answer::Done(clock::now_ns());
        loop {
            answer = match thaw.next(answer) {
                ThawAction::Fence => {
                    drain.reading.at_thaw(self.membarrier.fence());
                    Answer::Done(clock::now_ns())
                }
                ThawAction::Pass => {
                    let seen = self.pass(at, drain);
                    Answer::Seen(seen, clock::now_ns())
                }
                ThawAction::Pause => {
                    clock::sleep_ns(LOOK_AGAIN_NS);
                    self.disregard_sleepers(at, drain);
                    Answer::Done(clock::now_ns())
                }
                ThawAction::Open | ThawAction::Done(_) => return thaw,
            };
        }
    }
}
