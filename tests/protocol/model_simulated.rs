//! The pure protocol under a scheduler that is driven by a seed: 5 to 50 processes, deaths, clocks that jump,
//! wake-ups that come late. A seed reproduces its walk.
//!
//! `SIMULATE=1000000 cargo test --release -p writegate-protocol-tests --test model_simulated -- --nocapture`
//! walks so many; `SIMULATE_FROM=N` begins there; the default is for every day.

mod model;

use model::crowd::Casts;
use model::simulate::{Walk, walk};
use model::{Fault, Protocol};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Walks of every day.
const DAILY: u64 = 5000;
/// No walk needs more steps to come to its end; one that does is counted.
const MOST: usize = 60_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn of_seed(casts: &Casts, fault: Fault, seed: u64) -> Walk {
    walk(&Protocol { scenario: casts.world(seed), fault }, seed, MOST)
}

#[test]
fn crowds() {
    let (from, count) = (number("SIMULATE_FROM", 0), number("SIMULATE", DAILY));
    let (casts, next, begun) = (Casts::new(), AtomicU64::new(from), Instant::now());
    let (steps, ended, consistent, large) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let done = of_seed(&casts, Fault::None, seed);
                    assert_eq!(done.violated, None, "seed {seed}, after {} steps", done.steps);
                    steps.fetch_add(done.steps as u64, Relaxed);
                    ended.fetch_add(u64::from(done.ended), Relaxed);
                    consistent.fetch_add(u64::from(done.consistent), Relaxed);
                    large.fetch_add(u64::from(done.processes >= 20), Relaxed);
                }
            });
        }
    });
    let (ended, consistent) = (ended.into_inner(), consistent.into_inner());
    println!(
        "{count} walks from seed {from}: {} steps, {ended} to their end, {consistent} with a freeze \
         CONSISTENT, {} of 20 processes or more, none wrong, {:.1} s",
        steps.into_inner(),
        large.into_inner(),
        begun.elapsed().as_secs_f64()
    );
    // Walks in which nothing succeeds prove nothing.
    assert!(ended * 10 > count * 9, "only {ended} walks came to their end");
    assert!(consistent * 2 > count, "only {consistent} walks had a freeze that succeeded");
}

#[test]
fn a_seed_reproduces_its_walk() {
    let casts = Casts::new();
    for seed in 0..20 {
        let (one, two) = (of_seed(&casts, Fault::None, seed), of_seed(&casts, Fault::None, seed));
        assert_eq!((one.steps, one.ended, one.processes), (two.steps, two.ended, two.processes));
    }
}

/// Rules that a crowd finds missing soon. (What needs one path among many, the models find.)
const FOUND: &[Fault] = &[
    Fault::NoFence,
    Fault::AskingHasPassed,
    Fault::OnePass,
    Fault::ExecForgets,
    Fault::NewImageIsOld,
    Fault::NoAdmission,
    Fault::NoSearch,
    Fault::NoRetract,
    Fault::RawAfterHeld,
    Fault::WorkerIgnoresLease,
    Fault::FreezerIgnoresLease,
    Fault::BoundOfEachBarrier,
];

#[test]
fn a_crowd_finds_rules_left_out() {
    let casts = Casts::new();
    for fault in FOUND {
        let found =
            (0..DAILY).find_map(|seed| of_seed(&casts, *fault, seed).violated.map(|p| (seed, p)));
        let (seed, property) =
            found.unwrap_or_else(|| panic!("{fault:?} was not found: the crowd is blind to it"));
        println!("{fault:?}: the walk of seed {seed} violates: {property}");
    }
}
