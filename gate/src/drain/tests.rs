//! The drain, step by step.

use super::*;
use crate::control::Rank;
use crate::summary::Summary;

const LIMITS: Limits =
    Limits { deadline: 1000, drain_until: 600, stuck_after: 50, openings: 2, order: None };

fn to_first_pass(drain: &mut Drain) {
    assert_eq!(drain.next(Answer::Done(0)), Action::Close(1000));
    assert_eq!(drain.next(Answer::Done(0)), Action::Fence);
    assert_eq!(drain.next(Answer::Done(0)), Action::Pass);
}

fn idle(digest: u64) -> Summary {
    Summary { digest, stuck_digest: digest, ..Summary::default() }
}

#[test]
fn one_idle_pass_is_not_enough() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    assert_eq!(drain.next(Answer::Seen(idle(7), 1)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(8), 2)), Action::Pass, "something moved");
    assert_eq!(drain.next(Answer::Seen(idle(8), 3)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(1)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(9), 4)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(9), 5)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(9), 6)), Action::Done(Outcome::Drained));
}

#[test]
fn what_the_pass_after_the_listing_sees_decides() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    assert_eq!(drain.next(Answer::Seen(idle(7), 1)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(7), 2)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    let unsettled = Summary { in_flight: 1, stuck_digest: 3, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(unsettled, 3)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(4)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(8), 4)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(8), 5)), Action::Rescan, "listed anew");
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(9), 6)), Action::Pass, "a call passed");
    assert_eq!(drain.next(Answer::Seen(idle(9), 7)), Action::Rescan);
}

const ORDERED: Limits = Limits {
    order: Some(Order { from: Rank::First, drain: 100, quiesced_after: 5, quiesced_within: 20 }),
    ..LIMITS
};

#[test]
fn the_first_ones_are_drained_then_the_others_quiesce_then_all_are_held() {
    let mut drain = Drain::new(ORDERED);
    assert_eq!(drain.next(Answer::Done(0)), Action::CloseFirst(Rank::First, 1000));
    assert_eq!(drain.next(Answer::Done(0)), Action::Fence);
    assert_eq!(drain.next(Answer::Done(0)), Action::Pass);
    let busy = Summary { first_in_flight: 1, in_flight: 4, others: 1, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(busy, 1)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
    // Others are in flight all the time, and may be.
    let done = Summary { first_in_flight: 0, ..busy };
    assert_eq!(drain.next(Answer::Seen(done, 2)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(done, 3)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(done, 4)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(6)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(Summary { others: 2, ..done }, 8)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(12)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(Summary { others: 2, ..done }, 13)), Action::Close(1000));
    assert_eq!(
        drain.next(Answer::Done(13)),
        Action::Fence,
        "what was seen before counts for nothing"
    );
    assert_eq!(drain.next(Answer::Done(13)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(7), 14)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(7), 14)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(idle(7), 15)), Action::Done(Outcome::Drained));
}

#[test]
fn senders_are_drained_before_the_makers_are_held() {
    let order = Order { from: Rank::Sender, drain: 100, quiesced_after: 5, quiesced_within: 20 };
    let mut drain = Drain::new(Limits { order: Some(order), ..LIMITS });
    assert_eq!(drain.next(Answer::Done(0)), Action::CloseFirst(Rank::Sender, 1000));
    assert_eq!(drain.next(Answer::Done(0)), Action::Fence);
    assert_eq!(drain.next(Answer::Done(7)), Action::Pass);
    let makers = Summary { first_in_flight: 3, in_flight: 4, ..idle(7) };
    let busy = Summary { senders_in_flight: 1, ..makers };
    assert_eq!(drain.next(Answer::Seen(busy, 8)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(9)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(makers, 50)), Action::CloseFirst(Rank::First, 1000));
    assert_eq!(drain.next(Answer::Done(50)), Action::Fence);
    assert_eq!(drain.next(Answer::Done(50)), Action::Pass);
    // All the first ones together have one time.
    assert_eq!(drain.next(Answer::Seen(makers, 106)), Action::Pause);
    while drain.next(Answer::Newcomers(0)) != Action::Pass {}
    assert_eq!(drain.next(Answer::Seen(makers, 107)), Action::Pause, "not quiesced yet");
    assert_eq!(drain.next(Answer::Done(112)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(makers, 112)), Action::Close(1000));
}

#[test]
fn others_that_were_seen_to_sleep_once_are_not_waited_for() {
    let mut drain = Drain::new(ORDERED);
    for _ in 0..3 {
        drain.next(Answer::Done(0));
    }
    let done = Summary { in_flight: 4, others: 1, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(done, 2)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(done, 3)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(done, 4)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(5)), Action::Pass);
    let quiesced = Summary { others: 2, quiesced: true, ..done };
    assert_eq!(drain.next(Answer::Seen(quiesced, 6)), Action::Close(1000));
}

#[test]
fn without_a_time_for_it_only_quiescence_lets_the_others_be_held() {
    let order = Order {
        from: Rank::First,
        drain: u64::MAX,
        quiesced_after: u64::MAX,
        quiesced_within: u64::MAX,
    };
    let mut drain = Drain::new(Limits { order: Some(order), ..LIMITS });
    for _ in 0..3 {
        drain.next(Answer::Done(0));
    }
    let busy = Summary { first_in_flight: 1, in_flight: 4, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(busy, 590)), Action::Pause, "the first ones first");
    assert_eq!(drain.next(Answer::Done(590)), Action::Pass);
    let done = Summary { first_in_flight: 0, ..busy };
    assert_eq!(drain.next(Answer::Seen(done, 591)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(done, 591)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    let mut late = drain;
    assert_eq!(drain.next(Answer::Seen(done, 599)), Action::Pause, "though none moved");
    assert_eq!(drain.next(Answer::Done(599)), Action::Pass);
    let quiesced = Summary { quiesced: true, ..done };
    assert_eq!(drain.next(Answer::Seen(quiesced, 599)), Action::Close(1000));
    assert_eq!(late.next(Answer::Seen(done, 600)), Action::Open, "or not at all");
    assert_eq!(late.next(Answer::Done(600)), Action::Done(Outcome::NotDrained));
}

#[test]
fn first_ones_that_never_end_and_others_that_never_quiesce_hold_nothing_up() {
    let mut drain = Drain::new(ORDERED);
    drain.next(Answer::Done(0));
    drain.next(Answer::Done(0));
    assert_eq!(drain.next(Answer::Done(0)), Action::Pass);
    let busy = |others| Summary { first_in_flight: 1, in_flight: 4, held: 2, others, ..idle(7) };
    let mut now = 0;
    let ask = loop {
        now += 3;
        match drain.next(Answer::Seen(busy(now), now)) {
            Action::Pause => while drain.next(Answer::Newcomers(0)) != Action::Pass {},
            ask => break ask,
        }
    };
    assert_eq!(ask, Action::Close(1000), "and no opening before");
    assert!((120..130).contains(&now), "{now}");
}

#[test]
fn an_outstanding_admission_is_not_idle() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    let seen = Summary { outstanding: 1, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Pause);
    let seen = Summary { outstanding: 1, revocable: true, ..idle(7) };
    assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(seen, 2)), Action::Revoke);
}

#[test]
fn stuck_behind_a_held_one_opens_and_closes_under_a_new_deadline_with_a_fence() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    let seen = Summary { in_flight: 1, held: 3, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(seen, 60)), Action::Open);
    assert_eq!(drain.next(Answer::Done(60)), Action::AwaitMoved);
    assert_eq!(drain.next(Answer::Done(70)), Action::Close(1001));
    assert_eq!(drain.next(Answer::Done(70)), Action::Fence);
}

#[test]
fn drain_time_up_opens_before_it_reports() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    let seen = Summary { in_flight: 1, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(seen, 600)), Action::Open);
    assert_eq!(drain.next(Answer::Done(600)), Action::Done(Outcome::NotDrained));
}

#[test]
fn stuck_with_none_held_looks_for_a_child_that_is_not_in_the_list() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    let seen = Summary { in_flight: 1, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
    assert_eq!(drain.next(Answer::Seen(seen, 3)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(4)), Action::Rescan);
    assert_eq!(drain.next(Answer::Newcomers(1)), Action::Pass);
}
