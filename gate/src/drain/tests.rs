//! The drain, step by step.

use super::*;
use crate::admission::Admission;
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

#[test]
fn an_opening_that_lasts_to_the_end_of_the_drain_is_no_second_closing() {
    let mut drain = Drain::new(LIMITS);
    to_first_pass(&mut drain);
    let seen = Summary { in_flight: 1, held: 3, ..idle(7) };
    drain.next(Answer::Seen(seen, 1));
    drain.next(Answer::Done(2));
    assert_eq!(drain.next(Answer::Seen(seen, 60)), Action::Open);
    assert_eq!(drain.next(Answer::Done(60)), Action::AwaitMoved);
    let mut in_time = drain;
    assert_eq!(in_time.next(Answer::Done(599)), Action::Close(1001));
    assert_eq!(drain.next(Answer::Done(600)), Action::Done(Outcome::NotDrained));
    assert_eq!(drain.next(Answer::Done(601)), Action::Done(Outcome::NotDrained), "and stays so");
    assert!(!drain.is_under_way());
}

#[test]
fn what_was_done_is_counted() {
    let candidate = Admission { nonce: 9, lock_sequence: 5 };
    let mut drain = Drain::new(LIMITS);
    assert_eq!((drain.openings(), drain.admitted(), drain.passes()), (0, 0, 0));
    to_first_pass(&mut drain);
    let seen = Summary { in_flight: 1, held: 3, candidate: Some(candidate), ..idle(7) };
    for passes in 1..4 {
        assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Admit(candidate));
        assert_eq!((drain.admitted(), drain.passes()), (passes, passes));
        assert_eq!(drain.next(Answer::Done(1)), Action::Pass);
    }
    let stuck = Summary { candidate: None, ..seen };
    for openings in 1..3 {
        while drain.next(Answer::Seen(stuck, 100 * openings as u64)) != Action::Open {
            drain.next(Answer::Done(1));
        }
        drain.next(Answer::Done(2));
        assert_eq!(drain.next(Answer::Done(3)), Action::Close(1000 + openings as u64));
        assert_eq!((drain.openings(), drain.deadline()), (openings, 1000 + openings as u64));
        drain.next(Answer::Done(3));
        drain.next(Answer::Done(3));
    }
    assert_eq!(drain.admitted(), 3);
}

#[test]
fn it_says_how_far_it_is() {
    let says =
        |drain: &Drain| (drain.is_under_way(), drain.holds_first_alone(), drain.awaits_quiesced());
    let mut drain = Drain::new(ORDERED);
    assert_eq!(says(&drain), (false, false, false));
    for _ in 0..3 {
        drain.next(Answer::Done(0));
        assert_eq!(says(&drain), (true, true, false));
    }
    let done = Summary { in_flight: 4, others: 1, ..idle(7) };
    drain.next(Answer::Seen(done, 2));
    drain.next(Answer::Seen(done, 3));
    assert_eq!(says(&drain), (true, true, false));
    assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
    assert_eq!(says(&drain), (true, true, true));
    assert!(!drain.believes_next_pass());
    let quiesced = Summary { quiesced: true, ..done };
    assert_eq!(drain.next(Answer::Seen(quiesced, 4)), Action::Close(1000));
    assert_eq!(says(&drain), (true, false, false));
    drain.next(Answer::Done(5));
    drain.next(Answer::Done(5));
    for now in [6, 7] {
        assert!(!drain.believes_next_pass(), "not listed yet");
        drain.next(Answer::Seen(idle(7), now));
    }
    assert!(!drain.believes_next_pass(), "no pass is made now");
    drain.next(Answer::Newcomers(0));
    assert!(drain.believes_next_pass());
    assert_eq!(drain.next(Answer::Seen(idle(7), 8)), Action::Done(Outcome::Drained));
    assert_eq!(says(&drain), (false, false, false));
    assert!(!drain.believes_next_pass());
}

/// What the models know a state by.
#[test]
fn two_drains_are_equal_if_they_will_do_the_same() {
    fn hash(drain: &Drain) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        drain.hash(&mut hasher);
        hasher.finish()
    }
    let after = |limits, answers: &[Answer]| {
        let mut drain = Drain::new(limits);
        answers.iter().for_each(|answer| _ = drain.next(*answer));
        drain
    };
    let busy = Answer::Seen(Summary { in_flight: 1, ..idle(7) }, 9);
    let start = [Answer::Done(0), Answer::Done(0), Answer::Done(0)];
    let with = |more: &[Answer]| [&start[..], more].concat();
    let once = after(LIMITS, &with(&[busy, Answer::Done(9)]));
    let twice = after(LIMITS, &with(&[busy, Answer::Done(9), busy, Answer::Done(9)]));
    assert!(once != after(LIMITS, &start) && hash(&once) != hash(&after(LIMITS, &start)));
    assert!(once != twice, "the second looks for more");
    let twice =
        after(LIMITS, &with(&[busy, Answer::Done(9), busy, Answer::Done(9), Answer::Done(9)]));
    assert_eq!(once, twice, "how many passes it has made decides nothing");
    assert_eq!(hash(&once), hash(&twice));
    let later = |limits, now| after(limits, &with(&[Answer::Seen(idle(7), now)]));
    assert_ne!(later(LIMITS, 3), later(LIMITS, 4), "it may open, and when depends on that");
    let none = Limits { openings: 0, ..LIMITS };
    assert_eq!(later(none, 3), later(none, 4), "it opens no more");
    assert_eq!(hash(&later(none, 3)), hash(&later(none, 4)));
}

#[test]
fn first_ones_that_were_seen_at_rest_are_not_waited_for_because_others_move() {
    let mut drain = Drain::new(ORDERED);
    for _ in 0..3 {
        drain.next(Answer::Done(0));
    }
    let busy = Summary { first_in_flight: 1, in_flight: 4, ..idle(7) };
    assert_eq!(drain.next(Answer::Seen(busy, 1)), Action::Pause);
    assert_eq!(drain.next(Answer::Done(1)), Action::Pass);
    let done = |digest| Summary { in_flight: 3, ..idle(digest) };
    assert_eq!(drain.next(Answer::Seen(done(7), 2)), Action::Pass, "once more");
    let mut again = drain;
    assert_eq!(drain.next(Answer::Seen(done(8), 3)), Action::Rescan, "though others went on");
    assert_eq!(again.next(Answer::Seen(busy, 3)), Action::Pause, "but for one of their own");
}

#[test]
fn no_opening_where_none_is_held_and_none_beyond_what_is_allowed() {
    let opens = |openings: u32, held: u32| {
        let mut drain = Drain::new(Limits { openings, ..LIMITS });
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, held, ..idle(7) };
        drain.next(Answer::Seen(seen, 1));
        drain.next(Answer::Done(2));
        assert_eq!(drain.next(Answer::Seen(seen, 50)), Action::Pause, "not stuck yet");
        while drain.next(Answer::Newcomers(0)) != Action::Pass {}
        drain.next(Answer::Seen(seen, 51)) == Action::Open
    };
    assert!(opens(1, 1) && opens(1, 2));
    assert!(!opens(0, 1) && !opens(1, 0));
}
