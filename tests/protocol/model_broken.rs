//! The protocol with one rule left out at a time: each must be found out, or the
//! model proves nothing.
//!
//! `cargo test -p writegate-protocol-tests --test model_broken -- --nocapture --test-threads 1`
//! prints how long each counterexample is; with MODEL_TRACE=1 also its steps.

mod model;

use model::Fault;
use model::oracle::{ALARM, BOUND, ENDS, LEASE, STILL, WHOLE, name};
use model::run::finds;
use model::scenario::*;

#[test]
fn no_fence() {
    finds(SINGLE, Fault::NoFence, name(STILL));
}

#[test]
fn no_fence_and_a_torn_snapshot() {
    finds(SINGLE_HIDDEN, Fault::NoFence, name(WHOLE));
}

#[test]
fn no_fence_after_an_opening() {
    finds(REOPENED, Fault::NoFenceAfterOpening, name(STILL));
}

#[test]
fn no_fence_at_the_thaw() {
    finds(OVERDUE, Fault::NoFenceAtThaw, name(WHOLE));
}

#[test]
fn who_asks_at_the_thaw_taken_for_one_that_passed() {
    finds(SINGLE, Fault::AskingHasPassed, name(ALARM));
}

#[test]
fn one_pass_instead_of_two() {
    finds(THREADS, Fault::OnePass, name(STILL));
}

#[test]
fn a_passing_entry_announced_by_a_plain_store() {
    finds(THREADS, Fault::PlainPassing, name(STILL));
}

#[test]
fn a_child_that_trusts_what_it_inherited() {
    finds(CHILD_LIVES_ON, Fault::ChildTrusts, name(STILL));
}

#[test]
fn a_fork_that_is_no_entry() {
    finds(CHILD, Fault::ForkIsNoEntry, name(WHOLE));
}

#[test]
fn an_exec_that_nobody_asks_for() {
    finds(EXEC_LAZY, Fault::ExecUnasked, name(STILL));
}

#[test]
fn a_new_image_that_forgets_its_section() {
    finds(EXEC, Fault::ExecForgets, name(WHOLE));
}

#[test]
fn a_new_image_that_is_not_let_pass_by_its_section() {
    finds(EXEC, Fault::ExecNotAdmitted, ENDS);
}

#[test]
fn a_new_image_that_is_not_looked_up() {
    finds(EXEC_FIRST, Fault::NewImageIsOld, name(STILL));
}

#[test]
fn admission_left_out_for_a_lock_holder() {
    finds(CROSSED, Fault::NoAdmission, ENDS);
}

#[test]
fn admission_left_out_for_a_child() {
    finds(CHILD, Fault::NoAdmission, ENDS);
}

#[test]
fn admission_never_taken_back() {
    finds(CHILD_LIVES_ON, Fault::AdmissionKept, ENDS);
}

#[test]
fn admission_never_taken_back_and_not_counted() {
    finds(CHILD_LIVES_ON, Fault::AdmissionForgotten, name(STILL));
}

#[test]
fn admissions_of_a_killed_freezer_left_on_the_page() {
    finds(KILLED_FREEZER_CHILD, Fault::AdmissionsLeft, name(STILL));
}

#[test]
fn children_born_after_the_closing_not_looked_for() {
    finds(CHILD, Fault::NoSearch, ENDS);
}

#[test]
fn asking_again_taken_for_moving() {
    finds(OPENINGS, Fault::AskingIsMoving, ENDS);
}

#[test]
fn no_retract() {
    finds(SINGLE, Fault::NoRetract, ENDS);
}

#[test]
fn a_raw_entry_after_being_held() {
    finds(SINGLE_TWICE, Fault::RawAfterHeld, name(STILL));
}

#[test]
fn a_worker_that_does_not_check_the_lease() {
    finds(KILLED_FREEZER, Fault::WorkerIgnoresLease, ENDS);
}

#[test]
fn a_freezer_that_does_not_check_the_lease() {
    finds(LATE_THAW, Fault::FreezerIgnoresLease, name(LEASE));
}

#[test]
fn the_clock_read_before_lowering() {
    finds(LATE_THAW, Fault::ClockFirst, name(LEASE));
}

#[test]
fn a_bound_counted_anew_for_each_barrier() {
    finds(BACK_TO_BACK, Fault::BoundOfEachBarrier, name(BOUND));
}

#[test]
fn an_owner_that_passes_by_a_settled_section() {
    finds(SETTLED_IDLE, Fault::SettledOwnerPasses, name(STILL));
}

#[test]
fn a_record_trusted_for_a_second_child() {
    finds(SETTLED_TWO, Fault::SecondForkTrusted, name(WHOLE));
}

#[test]
fn a_grandchild_whose_changes_are_not_counted() {
    finds(SETTLED_GRANDCHILD, Fault::GrandchildUncounted, name(WHOLE));
}

#[test]
fn a_settled_judgement_that_is_older_than_a_revocation() {
    finds(SETTLED_ADMITTED, Fault::SettledKept, name(WHOLE));
}

#[test]
fn an_owner_that_is_held_before_its_next_child_and_has_not_recorded_the_last() {
    finds(SETTLED_NEXT, Fault::HeldForkTrusted, name(WHOLE));
}

#[test]
fn a_child_that_becomes_another_program_unseen() {
    finds(SETTLED_NEXT_EXEC, Fault::ExecUncounted, name(WHOLE));
}

#[test]
fn a_listing_that_ends_a_drain_without_another_pass() {
    finds(SETTLED_LATE, Fault::ListedIsDrained, name(WHOLE));
}

#[test]
fn a_signal_handler_that_takes_an_asking_call_for_one_that_was_let_pass() {
    finds(SIGNALS, Fault::NestedTrustsAsking, name(STILL));
}

#[test]
fn a_maker_that_is_not_held_first() {
    finds(FIRST_MESSAGE, Fault::NoOrder, name(WHOLE));
}

#[test]
fn a_hand_over_that_begins_no_section() {
    finds(HAND_OVER, Fault::SendIsNoChange, name(WHOLE));
}

#[test]
fn a_hand_over_whose_sender_is_not_held_first() {
    finds(HAND_OVER, Fault::NoOrder, ENDS);
}

#[test]
fn a_sender_and_a_maker_that_takes_from_it_are_held_at_once() {
    finds(HAND_BACK, Fault::OneRank, ENDS);
}

#[test]
fn only_the_first_ones_are_held() {
    finds(FIRST_SETS, Fault::FirstAlone, name(STILL));
}

#[test]
fn an_agent_whose_section_ends_with_its_call() {
    finds(AGENT, Fault::EndsWithCall, name(WHOLE));
}

#[test]
fn nobody_is_waited_for_after_the_first_ones() {
    finds(AGENT, Fault::NoRest, name(WHOLE));
}

#[test]
fn news_that_goes_through_one_hand_more() {
    finds(AGENT, Fault::OneHandLess, name(WHOLE));
}

#[test]
fn regions_that_are_believed_about_their_locks() {
    finds(KERNEL_ONLY, Fault::NotCompared, name(WHOLE));
}

#[test]
fn locks_compared_before_the_barrier_alone() {
    finds(KERNEL_ONLY, Fault::ComparedBefore, name(WHOLE));
}

#[test]
fn admission_left_out_for_a_lock_that_only_the_kernel_knows() {
    finds(KERNEL_ONLY, Fault::NoAdmission, ENDS);
}

#[test]
fn an_admission_for_such_a_lock_never_taken_back() {
    finds(KERNEL_ONLY_AGAIN, Fault::AdmissionKept, ENDS);
}

#[test]
fn an_admission_for_such_a_lock_never_taken_back_and_not_counted() {
    finds(KERNEL_ONLY_AGAIN, Fault::AdmissionForgotten, name(STILL));
}

#[test]
fn what_came_with_a_fork_accounted_for_by_a_parent_that_has_it_no_more() {
    finds(HANDED_ON, Fault::InheritedIsAccounted, name(WHOLE));
    finds(HANDED_ON_BY_EXIT, Fault::InheritedIsAccounted, name(WHOLE));
}

#[test]
fn a_right_to_pass_by_what_a_child_has_locked() {
    finds(CHILD_LOCKS, Fault::ReapBegins, name(STILL));
    finds(FILE_BY_HELPER, Fault::ReapBegins, name(STILL));
}

#[test]
fn what_a_child_has_locked_not_asked_for() {
    finds(CHILD_LOCKS, Fault::ReapAsksNothing, name(WHOLE));
    finds(FILE_BY_HELPER, Fault::ReapAsksNothing, name(WHOLE));
}

#[test]
fn a_lock_file_made_under_a_closed_barrier_not_seen() {
    finds(FILE_OUTSIDE, Fault::FileUnseenWhenClosed, name(WHOLE));
}

#[test]
fn a_right_to_pass_by_a_lock_file_made_under_a_closed_barrier() {
    finds(FILE_OUTSIDE, Fault::FileBegins, name(STILL));
}

#[test]
fn a_lock_file_that_lasts_until_its_maker_removes_it() {
    finds(FILE_REMOVED, Fault::FileOutlives, ENDS);
}

#[test]
fn a_lock_file_left_to_a_child_and_nobodys() {
    finds(FILE_LEFT, Fault::InheritedIsAccounted, name(WHOLE));
}

#[test]
fn what_did_not_fit_into_the_table_forgotten() {
    finds(OVERFLOW, Fault::OverflowForgotten, name(WHOLE));
}

#[test]
fn a_lock_file_left_to_a_child_that_has_done_nothing_yet() {
    finds(FILE_LEFT, Fault::FreshForkHasNothing, name(STILL));
}
