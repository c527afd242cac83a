//! Worlds of 5 to 50 processes, by seed: who runs which of a few small programs, which deaths may come,
//! how long the freezes' limits are. Two sets of two files, each under a lock of its own.

use super::scenario::{Scenario, TIMELESS};
use super::simulate::Random;
use super::state::Op::{self, *};
use super::{Set, TICK};

const PROGRAMS: &[&[Op]] = &[
    &[Lock(0), Write(0), Write(1), Unlock(0)],
    &[Lock(1), Write(2), Write(3), Unlock(1)],
    // Both locks at once, always taken in this order.
    &[Lock(0), Lock(1), Write(0), Write(2), Write(1), Write(3), Unlock(1), Unlock(0)],
    // Hand over hand: the section ends with the second.
    &[Lock(0), Write(0), Write(1), Lock(1), Unlock(0), Write(2), Write(3), Unlock(1)],
    // A lock taken and given up without a change, and one that nobody else wants.
    &[Lock(0), Unlock(0), Lock(2), Sync, Unlock(2)],
    &[Sync, Sleep, Sync],
    // A child does half of the set.
    &[Lock(0), Write(0), Fork(7), Wait, Unlock(0)],
    &[Write(1)],
    // A child with a set of its own.
    &[Fork(1), Sync, Wait],
    // Becomes another program with its lock.
    &[Lock(1), Write(2), Exec, Write(3), Unlock(1)],
    &[Lock(1), Write(2), Write(3), Unlock(1), Lock(0), Write(0), Write(1), Unlock(0)],
];
/// What a process may start with: all but the half that only a child does.
const STARTS: &[u8] = &[0, 0, 1, 1, 2, 3, 4, 5, 6, 8, 9, 10];
/// More different casts than this are made anew for each seed; a cast lives as long as the program.
const CASTS: u64 = 1024;

/// A cast of processes, the same for the same number.
fn cast(number: u64) -> &'static [&'static [u8]] {
    let mut random = Random::new(number);
    let most = if random.below(8) == 0 { 46 } else { 12 };
    let count = 5 + random.below(most) as usize;
    let threads = |random: &mut Random| -> &'static [u8] {
        let at = random.below(STARTS.len() as u64) as usize;
        &STARTS[at..at + 1]
    };
    let procs: Vec<&'static [u8]> = (0..count).map(|_| threads(&mut random)).collect();
    Box::leak(procs.into_boxed_slice())
}

/// All casts, made once.
pub struct Casts(Vec<&'static [&'static [u8]]>);

impl Casts {
    pub fn new() -> Casts {
        Casts((0..CASTS).map(cast).collect())
    }

    /// The world of this seed.
    pub fn world(&self, seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x5eed);
        let procs = self.0[(seed % CASTS) as usize];
        let clock = random.below(2) == 0;
        let limit = TICK * (20 + random.below(2000));
        Scenario {
            name: "a crowd",
            programs: PROGRAMS,
            procs,
            sets: &[Set { files: &[0, 1], of: u8::MAX }, Set { files: &[2, 3], of: u8::MAX }],
            buffer: 1 + random.below(3) as usize,
            freezes: 1 + random.below(4) as u8,
            limit: if clock { limit } else { TIMELESS.limit },
            drain: if clock { limit / 2 } else { TIMELESS.drain },
            openings: if clock { random.below(3) as u32 } else { 0 },
            until: if clock { limit * 8 } else { 0 },
            kills: if random.below(2) == 0 { random.below(4) as u8 } else { 0 },
            killable: u64::MAX,
            freezer_kills: u8::from(clock && random.below(4) == 0),
            ..TIMELESS
        }
    }
}
