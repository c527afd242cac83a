//! Sets that count as over although their locks are held: the profile's rule `settled`.
//!
//! Exim's delivery holds its message's lock while its child sleeps three seconds for a busy mailbox, and
//! has synced its own record before it made that child. So nothing is half-done there, as long as the child has
//! done nothing. The gate knows that by what both have announced; here the kernel tells it: the owner
//! waits, and each process that works for it sleeps, has no lock, and has written nothing since it was made.
//! That the record comes first is the profile's word.

use crate::hold::locks::{self, Locks};
use crate::hold::table::{State, Table};
use crate::linux::look::Look;
use crate::linux::procfs::{self, Children};
use crate::linux::ptrace::calls::{self, StoppedCall};
use crate::linux::sleeps::{self, Until};
use gate::profile::{self, Key};
use std::os::unix::ffi::OsStrExt;

/// What is seen of one that works for the owner of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Helper {
    /// It is stopped in a call that lasts until some time has passed.
    sleeps: bool,
    /// It has a guarding lock of its own, or that cannot be seen.
    may_have_lock: bool,
    /// It has written nothing since it was made, and no child of it has.
    done_nothing: bool,
}

/// Is nothing half-done in the set of this owner, all being stopped?
pub fn is_settled(table: &Table, owner: i32, profile: &str) -> bool {
    says_so(owner, profile)
        && all_stopped_in(table, owner, StoppedCall::was_waiting)
        && helpers(table, owner, profile).is_some_and(|helpers| settled(&helpers))
}

fn settled(helpers: &[Helper]) -> bool {
    let at_rest = |helper: &Helper| helper.sleeps && !helper.may_have_lock && helper.done_nothing;
    // Without one it is the owner's turn to record what came of the last.
    !helpers.is_empty() && helpers.iter().all(at_rest)
}

fn says_so(pid: i32, profile: &str) -> bool {
    profile::values(profile, Key::Settled).next().is_some()
        && procfs::exe(pid)
            .is_some_and(|exe| profile::matches(profile, Key::Settled, exe.as_os_str().as_bytes()))
}

fn all_stopped_in(table: &Table, pid: i32, wanted: impl Fn(&StoppedCall) -> bool) -> bool {
    let mut threads = table.of(pid).peekable();
    let stopped = |(tid, state): (i32, State)| {
        state == State::Stopped && calls::stopped_in(tid).is_some_and(|call| wanted(&call))
    };
    threads.peek().is_some() && threads.all(stopped)
}

/// Its children, dead ones too: what such a one has done may not be on record yet. None: they cannot be seen.
fn helpers(table: &Table, owner: i32, profile: &str) -> Option<Vec<Helper>> {
    let Look::Seen(children) = Children::default().of(owner) else { return None };
    let sleeps = |call: &StoppedCall| {
        call.was_waiting() && matches!(sleeps::until(call.number), Some(Until::Time | Until::Again))
    };
    let helper = |pid: i32| Helper {
        sleeps: all_stopped_in(table, pid, sleeps),
        may_have_lock: locks::of(pid, table.of(pid).map(|(tid, _)| tid), profile) != Locks::None,
        done_nothing: procfs::done::nothing_yet(pid),
    };
    Some(children.into_iter().map(helper).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_settled_while_all_who_work_for_it_sleep_and_have_done_nothing() {
        let asleep = Helper { sleeps: true, may_have_lock: false, done_nothing: true };
        assert!(settled(&[asleep]) && settled(&[asleep, asleep]));
        assert!(!settled(&[]), "its owner will record what came of the last");
        for other in [
            Helper { sleeps: false, ..asleep },
            Helper { may_have_lock: true, ..asleep },
            Helper { done_nothing: false, ..asleep },
        ] {
            assert!(!settled(&[asleep, other]), "{other:?}");
        }
    }
}
