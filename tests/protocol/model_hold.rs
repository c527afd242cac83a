//! Processes without words, held by the tracer: `gate::hold` explored with every interleaving. Here are the
//! programs that are held, and what must be found when a rule is left out.
//!
//! A world of its own beside `model/`: these processes have no region, no barrier and no announcement. A thread
//! does one system call at a time, each whole; it is stopped some time after it was asked to, each
//! thread by itself; only the kernel knows who holds a lock; threads and processes are made meanwhile. The
//! tracer does what `gate::hold` asks for; it may be stopped for good at any step, and the kernel's timer
//! kills it.
//!
//! | module | duty |
//! |---|---|
//! | `hold::world` | what threads do, and how they stop |
//! | `hold::tracer` | what the tracer does |
//! | `hold::order` | who is held first, and when the others are |
//! | `hold::explore` | every interleaving, and what must hold |
//!
//! `cargo test -p writegate-protocol-tests --test model_hold -- --nocapture --test-threads 1`

mod hold;

use hold::explore::{ENDS, NESTED, UNDER_LOCK, WAITED, WHOLE, explore, finds, holds};
use hold::world::Op::*;
use hold::world::{Fault, Op, World};
use stateright::Checker;

const SET: &[Op] = &[Lock(0), Write(0), Write(1), Unlock(0)];
const NONE: World = World {
    programs: &[],
    procs: &[],
    settled: false,
    first: &[],
    until_wait: &[],
    until_exit: &[],
    fault: Fault::Nothing,
};
/// Two processes that want the same lock.
const PAIR: World = World { programs: &[SET], procs: &[&[0], &[0]], ..NONE };
/// One process, two threads: one lock, taken by the process, the work done by the other thread.
const THREADS: World = World {
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)], SET],
    procs: &[&[0, 1]],
    ..NONE
};
/// The thread that works is made meanwhile.
const LATE_THREAD: World = World { programs: &[&[Thread(1)], SET], procs: &[&[0]], ..NONE };
/// A child makes the second half, under its parent's lock.
const CHILD: World = World {
    programs: &[&[Lock(0), Write(0), Fork(1), Wait, Unlock(0)], &[Write(1)]],
    procs: &[&[0]],
    ..NONE
};
/// A child that works by itself is made meanwhile.
const LATE_CHILD: World = World { programs: &[&[Fork(1), Fork(1)], SET], procs: &[&[0]], ..NONE };
/// Gated processes that write past libc under a lock: one all of its set, the other half of it.
const GATED: World = World {
    programs: &[SET, &[Lock(1), Write(0), Hooked(1), Unlock(1)]],
    procs: &[&[0], &[1]],
    ..NONE
};
/// A whole set, then a child that sleeps and makes another, all under one lock.
const ASLEEP: World = World {
    programs: &[
        &[Lock(0), Write(0), Write(1), Fork(1), Wait, Unlock(0)],
        &[Sleep, Write(0), Write(1)],
    ],
    procs: &[&[0]],
    settled: true,
    ..NONE
};
/// The same, but the child has begun before it sleeps.
const BEGUN: World = World {
    programs: &[
        &[Lock(0), Write(0), Write(1), Fork(1), Wait, Unlock(0)],
        &[Write(0), Sleep, Write(1)],
    ],
    ..ASLEEP
};
/// The same, but the owner makes the second half when the child has ended.
const RECORDED_LATER: World = World {
    programs: &[&[Lock(0), Fork(1), Wait, Write(1), Unlock(0)], &[Sleep, Write(0)]],
    ..ASLEEP
};
/// One thread takes a lock inside another; beside it one waits for a child that wants the outer.
const NEST: World = World {
    programs: &[
        &[Lock(0), Lock(1), Write(0), Write(1), Unlock(1), Unlock(0)],
        &[Fork(2), Wait],
        &[Lock(0), Unlock(0)],
    ],
    procs: &[&[0, 1]],
    ..NONE
};

/// A set that travels by message: its maker tells another process, which makes the second half.
const TOLD: World = World {
    programs: &[
        &[Write(0), Tell(0), Sleep, Write(0), Tell(0)],
        &[Hear(0), Write(1), Hear(0), Write(1)],
    ],
    procs: &[&[0], &[1]],
    first: &[0],
    until_wait: &[0],
    ..NONE
};
/// The same through another hand.
const RELAYED: World = World {
    programs: &[&[Sleep, Write(0), Tell(0)], &[Hear(1), Write(1)], &[Hear(0), Tell(1)]],
    procs: &[&[0], &[1], &[2]],
    first: &[0],
    until_wait: &[0],
    ..NONE
};
/// Beside it a process that keeps a lock until the maker has told it something.
const AWAITED: World = World {
    programs: &[
        &[Sleep, Write(0), Tell(0), Tell(1), Sleep, Write(0), Tell(0)],
        &[Hear(0), Write(1), Hear(0), Write(1)],
        &[Lock(0), Hear(1), Unlock(0)],
    ],
    procs: &[&[0], &[1], &[2]],
    first: &[0],
    until_wait: &[0],
    ..NONE
};
/// A set without a lock, that lasts until its maker waits.
const UNTIL_WAIT: World = World {
    programs: &[&[Write(0), Write(1), Sleep, Write(0), Write(1)]],
    procs: &[&[0]],
    until_wait: &[0],
    ..NONE
};
/// The same until it ends, with a wait in it; it is made meanwhile.
const UNTIL_EXIT: World = World {
    programs: &[&[Fork(1), Wait, Fork(1)], &[Sleep, Write(0), Sleep, Write(1)]],
    procs: &[&[0]],
    until_exit: &[1],
    ..NONE
};

#[test]
fn two_processes() {
    holds(PAIR);
}

#[test]
fn two_threads() {
    holds(THREADS);
}

#[test]
fn a_thread_that_is_made_meanwhile() {
    holds(LATE_THREAD);
}

#[test]
fn gated_processes_that_write_past_libc() {
    holds(World { procs: &[&[0], &[0]], ..GATED });
    holds(GATED);
}

#[test]
fn a_lock_of_one_that_waits_at_the_gate_is_no_matter() {
    finds(GATED, Fault::WordsBelieved, WHOLE);
}

#[test]
fn a_child_under_its_parents_lock() {
    holds(CHILD);
}

#[test]
fn children_that_are_made_meanwhile() {
    holds(LATE_CHILD);
}

#[test]
fn a_lock_inside_another() {
    holds(NEST);
}

#[test]
fn a_holder_that_never_gets_its_second_lock() {
    assert!(explore(NEST).discovery(NESTED).is_some());
    let checker = explore(World { fault: Fault::AlwaysKeptBack, ..NEST });
    assert!(checker.is_done() && checker.discovery(NESTED).is_none());
}

#[test]
fn a_child_that_sleeps_under_its_parents_lock() {
    for world in [ASLEEP, BEGUN, RECORDED_LATER] {
        holds(world);
    }
    assert!(explore(ASLEEP).discovery(UNDER_LOCK).is_some());
    let unsaid = explore(World { settled: false, ..ASLEEP });
    assert!(unsaid.is_done() && unsaid.discovery(UNDER_LOCK).is_none());
}

#[test]
fn a_child_that_has_begun_counts_as_settled() {
    finds(BEGUN, Fault::BegunIsSettled, WHOLE);
}

#[test]
fn a_child_that_has_ended_counts_as_settled() {
    finds(RECORDED_LATER, Fault::EndedIsSettled, WHOLE);
}

#[test]
fn without_asking_for_locks() {
    finds(PAIR, Fault::StoppedAnywhere, WHOLE);
}

#[test]
fn locks_read_before_the_stop() {
    finds(PAIR, Fault::LocksBeforeStop, WHOLE);
}

#[test]
fn a_thread_forgotten() {
    finds(THREADS, Fault::ThreadForgotten, WHOLE);
}

#[test]
fn a_new_thread_missed() {
    finds(LATE_THREAD, Fault::NewThreadMissed, WHOLE);
}

#[test]
fn a_new_process_missed() {
    finds(LATE_CHILD, Fault::NewThreadMissed, WHOLE);
}

#[test]
fn a_lease_without_its_timer() {
    finds(PAIR, Fault::NoTimer, ENDS);
}

#[test]
fn a_child_that_the_holder_waits_for_is_not_let_go() {
    assert!(explore(CHILD).discovery(WAITED).is_some());
    let world = World { fault: Fault::HoldersAlone, ..CHILD };
    let checker = explore(world);
    assert!(checker.is_done() && checker.discovery(WAITED).is_none());
}

#[test]
fn sets_that_travel_by_message() {
    for world in [TOLD, RELAYED, AWAITED] {
        holds(world);
    }
}

#[test]
fn sets_that_last_until_their_makers_wait_or_end() {
    for world in [UNTIL_WAIT, UNTIL_EXIT] {
        holds(world);
    }
}

#[test]
fn an_order_that_is_not_kept() {
    finds(TOLD, Fault::FirstIgnored, WHOLE);
}

#[test]
fn others_that_are_stopped_before_they_have_heard() {
    finds(TOLD, Fault::NewsNotAwaited, WHOLE);
}

#[test]
fn news_that_goes_through_more_hands_than_are_waited_for() {
    finds(RELAYED, Fault::OneHand, WHOLE);
}

#[test]
fn a_first_one_that_is_let_run_again_for_one_that_waits_for_it() {
    finds(AWAITED, Fault::OrderedOnce, WHOLE);
}

#[test]
fn a_wait_that_is_not_asked_for() {
    finds(UNTIL_WAIT, Fault::WaitIgnored, WHOLE);
    finds(TOLD, Fault::WaitIgnored, WHOLE);
}

#[test]
fn an_end_that_is_not_asked_for() {
    finds(UNTIL_EXIT, Fault::ExitIgnored, WHOLE);
}
