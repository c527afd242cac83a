//! Every interleaving, and what must hold in each.

use super::world::{CHANNELS, DEADLINE, FILES, Fault, LOCKS, State, Step, Thread, UNTIL, World};
use gate::hold::{Action, Hold, Limits};
use stateright::{Checker, HasDiscoveries, Model, Property};

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let of = |(proc, programs): (usize, &&'static [usize])| {
            let thread = move |program: &usize| Thread {
                proc: proc as u8,
                program: *program as u8,
                at: 0,
                ours: false,
                asked: false,
                stopped: false,
            };
            programs.iter().map(thread).collect::<Vec<_>>()
        };
        let mut s = State {
            threads: self.procs.iter().enumerate().flat_map(of).collect(),
            parents: vec![None; self.procs.len()],
            locks: [None; LOCKS],
            files: [0; FILES],
            messages: [0; CHANNELS],
            aside: self.names_first(),
            news: None,
            first: Vec::new(),
            let_go: Vec::new(),
            machine: Hold::new(Limits { until: UNTIL, pause: 1 }),
            action: Action::Stop,
            held_then: false,
            listed: false,
            complete: Vec::new(),
            all_listed: false,
            free: Vec::new(),
            kept_back: Vec::new(),
            snapshot: None,
            time: 0,
            stuck: false,
            gone: false,
            torn: false,
            waited: false,
            under_lock: false,
            nested: false,
        };
        World::begin(&mut s);
        vec![s]
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        for (at, thread) in s.threads.iter().enumerate() {
            if self.can_run(s, thread) {
                steps.push(Step::Thread(at));
            }
            if thread.asked && !thread.stopped {
                steps.push(Step::Stops(at));
            }
        }
        if s.gone {
            return;
        }
        let pauses = matches!(s.action, Action::Pause(_)) && self.some_work(s);
        if !s.stuck && !pauses {
            steps.push(Step::Tracer);
        }
        if !s.stuck {
            steps.push(Step::StopTracer);
        } else if s.time < DEADLINE {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Thread(at) => {
                self.run(&mut s, at);
                s.torn |= s.snapshot.is_some_and(|snapshot| snapshot != s.files);
            }
            Step::Stops(at) => {
                (s.threads[at].asked, s.threads[at].stopped) = (false, true);
            }
            Step::Tracer => self.trace(&mut s),
            Step::StopTracer => s.stuck = true,
            Step::Tick => {
                s.time += 1;
                if s.time == DEADLINE && self.fault != Fault::NoTimer {
                    self.end(&mut s);
                }
            }
        }
        (s != *last).then_some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WHOLE, |_, s: &State| !s.torn),
            Property::eventually(ENDS, |m: &World, s: &State| {
                s.torn || s.gone && s.threads.iter().all(|t| m.op(t).is_none())
            }),
            Property::sometimes(WAITED, |_, s: &State| s.snapshot.is_some() && s.waited),
            Property::sometimes(UNDER_LOCK, |_, s: &State| s.snapshot.is_some() && s.under_lock),
            Property::sometimes(NESTED, |_, s: &State| s.snapshot.is_some() && s.nested),
            Property::sometimes(AT_REST, |m: &World, s: &State| {
                s.snapshot.is_some() && s.threads.iter().any(|t| m.op(t).is_some())
            }),
        ]
    }
}

pub const WHOLE: &str = "at rest no set is cut, and nothing moves";
pub const ENDS: &str = "nobody is held for good";
pub const WAITED: &str = "a hold in which a holder waited for its child comes to rest";
pub const UNDER_LOCK: &str = "a hold comes to rest while a settled set's lock is held";
pub const NESTED: &str = "a hold in which a holder needed a second lock comes to rest";
pub const AT_REST: &str = "a hold in the middle of the work comes to rest";

pub fn explore(world: World) -> impl Checker<World> {
    let checker = world
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(std::time::Duration::from_secs(120))
        .spawn_bfs()
        .join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker
}

pub fn holds(world: World) {
    let checker = explore(world);
    for property in [WHOLE, ENDS] {
        if let Some(path) = checker.discovery(property) {
            panic!("{property}: {:?}", path.into_actions());
        }
    }
    assert!(checker.is_done(), "not all was explored");
    assert!(checker.discovery(AT_REST).is_some(), "no hold ever comes to rest");
}

pub fn finds(world: World, fault: Fault, property: &'static str) {
    let checker = explore(World { fault, ..world });
    assert!(checker.discovery(property).is_some(), "{fault:?} was not found: the model is blind");
}
