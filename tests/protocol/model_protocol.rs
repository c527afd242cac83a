//! The protocol as it is shipped, explored: no property may fail.
//!
//! `cargo test -p writegate-protocol-tests --test model_protocol -- --nocapture --test-threads 1`
//! prints how many states each scenario has.

mod model;

use model::run::holds;
use model::scenario::*;

#[test]
fn single() {
    assert!(holds(SINGLE), "arrivals spoil every verdict");
}

#[test]
fn single_twice() {
    holds(SINGLE_TWICE);
}

#[test]
fn sets() {
    holds(SETS);
}

#[test]
fn crossed() {
    holds(CROSSED);
}

#[test]
fn chain() {
    holds(CHAIN);
}

#[test]
fn openings() {
    holds(OPENINGS);
}

#[test]
fn reopened() {
    holds(REOPENED);
}

#[test]
fn child() {
    holds(CHILD);
}

#[test]
fn child_lives_on() {
    holds(CHILD_LIVES_ON);
}

#[test]
fn grandchild() {
    holds(GRANDCHILD);
}

#[test]
fn child_exec() {
    holds(CHILD_EXEC);
}

#[test]
fn exec() {
    holds(EXEC);
}

#[test]
fn exec_first() {
    holds(EXEC_FIRST);
}

#[test]
fn threads() {
    holds(THREADS);
}

#[test]
fn kills() {
    holds(KILLS);
}

#[test]
fn kills_crossed() {
    holds(KILLS_CROSSED);
}

#[test]
fn late_thaw() {
    holds(LATE_THAW);
}

#[test]
fn killed_freezer() {
    holds(KILLED_FREEZER);
}

#[test]
fn killed_freezer_child() {
    holds(KILLED_FREEZER_CHILD);
}

#[test]
fn back_to_back() {
    holds(BACK_TO_BACK);
}

#[test]
fn overdue() {
    holds(OVERDUE);
}

#[test]
fn given_up() {
    holds(GIVEN_UP);
}

#[test]
fn settled() {
    holds(SETTLED);
}

#[test]
fn settled_admitted() {
    holds(SETTLED_ADMITTED);
}

#[test]
fn settled_two() {
    holds(SETTLED_TWO);
}

#[test]
fn settled_late() {
    holds(SETTLED_LATE);
}

#[test]
fn settled_next() {
    holds(SETTLED_NEXT);
}

#[test]
fn settled_next_exec() {
    holds(SETTLED_NEXT_EXEC);
}

#[test]
fn settled_locks() {
    holds(SETTLED_LOCKS);
}

#[test]
fn settled_grandchild() {
    holds(SETTLED_GRANDCHILD);
}

#[test]
fn settled_exec() {
    holds(SETTLED_EXEC);
}

#[test]
fn torn_pair() {
    holds(TORN_PAIR);
}

#[test]
fn child_alone() {
    holds(CHILD_ALONE);
}

#[test]
fn exec_lazy() {
    holds(EXEC_LAZY);
}

#[test]
fn single_hidden() {
    holds(SINGLE_HIDDEN);
}

#[test]
fn settled_idle() {
    holds(SETTLED_IDLE);
}

#[test]
fn signals() {
    holds(SIGNALS);
}

#[test]
fn signals_section() {
    holds(SIGNALS_SECTION);
}

#[test]
fn first_message() {
    holds(FIRST_MESSAGE);
}

#[test]
fn hand_over() {
    holds(HAND_OVER);
}

#[test]
fn hand_back() {
    holds(HAND_BACK);
}

#[test]
fn first_crossed() {
    holds(FIRST_CROSSED);
}

#[test]
fn first_sets() {
    holds(FIRST_SETS);
}

#[test]
fn agent() {
    holds(AGENT);
}

#[test]
fn a_lock_that_only_the_kernel_knows() {
    holds(KERNEL_ONLY);
}

#[test]
fn two_sets_under_a_lock_that_only_the_kernel_knows() {
    holds(KERNEL_ONLY_AGAIN);
}

#[test]
fn a_description_shared_over_fork() {
    holds(HANDED_ON);
}

#[test]
fn a_description_shared_over_fork_whose_parent_exits() {
    holds(HANDED_ON_BY_EXIT);
}

#[test]
fn a_child_locks_its_parents_description() {
    holds(CHILD_LOCKS);
}

#[test]
fn a_lock_file_outside() {
    holds(FILE_OUTSIDE);
}

#[test]
fn a_lock_file_inside() {
    holds(FILE_INSIDE);
}

#[test]
fn a_lock_file_that_a_helper_makes() {
    holds(FILE_BY_HELPER);
}

#[test]
fn a_lock_file_that_another_removes() {
    holds(FILE_REMOVED);
}

#[test]
fn a_lock_file_whose_maker_exits() {
    holds(FILE_LEFT);
}

#[test]
fn more_locks_than_the_table_has_room_for() {
    holds(OVERFLOW);
}
