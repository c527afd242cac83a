//! Explores one scenario and says what it saw.

use super::oracle::{ARRIVALS, CONSISTENT};
use super::scenario::Scenario;
use super::simulate::walk;
use super::state::State;
use super::{Action, Fault, Protocol};
use stateright::{Checker, HasDiscoveries, Model, Path};
use std::time::{Duration, Instant};

/// No scenario takes long; one that does is a mistake.
const LONGEST: Duration = Duration::from_secs(120);

/// The protocol as shipped: no property may fail, and CONSISTENT must happen.
///
/// Returns whether a freeze can be CONSISTENT although somebody came to the
/// barrier after the drain.
pub fn holds(scenario: Scenario) -> bool {
    let name = scenario.name;
    let begun = Instant::now();
    let checker = Protocol { scenario, fault: Fault::None }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(LONGEST)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    println!(
        "{name}: {states} states, depth {}, {:.1} s",
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    for (property, path) in checker.discoveries() {
        if property != CONSISTENT && property != ARRIVALS {
            trace(&path);
            panic!("{name}: violated: {property}");
        }
    }
    assert!(checker.is_done(), "{name}: not all was explored");
    assert!(checker.discovery(CONSISTENT).is_some(), "{name}: no freeze ever succeeds");
    checker.discovery(ARRIVALS).is_some()
}

/// The protocol without one of its rules: this property must fail.
pub fn finds(scenario: Scenario, fault: Fault, property: &'static str) {
    let name = scenario.name;
    let begun = Instant::now();
    by_chance(&Protocol { scenario: scenario.clone(), fault }, property);
    let checker = Protocol { scenario, fault }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf([property].into()))
        .timeout(LONGEST)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let found = checker.discovery(property);
    let steps = found.as_ref().map(|path| path.clone().into_vec().len() - 1);
    println!(
        "{fault:?} in {name}: {states} states, {} ({property}), {:.1} s",
        steps.map_or("nothing found".into(), |steps| format!("violated after {steps} steps")),
        begun.elapsed().as_secs_f64()
    );
    if let (Some(path), true) = (&found, std::env::var_os("MODEL_TRACE").is_some()) {
        for (state, action) in path.clone().into_vec() {
            println!(
                "{action:?}\n    files {:?} barrier {} {:?}",
                state.files, state.barrier, state.freezer.phase
            );
        }
    }
    assert!(found.is_some(), "{fault:?} was not found: the model is blind to it");
}

/// With MODEL_WALKS=N: do walks by chance find it too, and which is the first?
fn by_chance(protocol: &Protocol, property: &'static str) {
    const STEPS: usize = 2000;
    let Ok(text) = std::env::var("MODEL_WALKS") else { return };
    let walks: u64 = text.parse().expect("a number of walks");
    let found = (0..walks).find(|seed| walk(protocol, *seed, STEPS).violated == Some(property));
    let (fault, name) = (protocol.fault, protocol.scenario.name);
    match found {
        Some(seed) => println!("{fault:?} in {name}: the walk of seed {seed} finds it"),
        None => println!("{fault:?} in {name}: not found by {walks} walks"),
    }
}

/// With MODEL_TRACE set: every step of a counterexample, and where it leads.
fn trace(path: &Path<State, Action>) {
    if std::env::var_os("MODEL_TRACE").is_none() {
        return;
    }
    let mut threads = Vec::new();
    for (state, action) in path.clone().into_vec() {
        let now: Vec<_> = state
            .procs
            .iter()
            .map(|p| (p.alive, p.threads.iter().map(|t| (t.at, t.step)).collect::<Vec<_>>()))
            .collect();
        let f = &state.freezer;
        println!("  time {} barrier {} files {:?}", state.time, state.barrier, state.files);
        println!("  freezer {:?} {:?} wrong {}", f.phase, f.last, state.wrong);
        if now != threads {
            println!("  threads {now:?}");
            let words: Vec<_> = state.regions.iter().map(|r| (r.process, &r.words)).collect();
            println!("  regions {words:x?}");
            threads = now;
        }
        println!("{action:?}");
    }
}
