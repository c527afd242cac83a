//! Programs whose sets of writes last until they wait, or until they end (`until-wait` and `until-exit` in
//! the profile), with or without a lock: at rest is such a one where it waits, or is about to; or when it
//! is no more, or has done nothing since it was made.
//!
//! Whether one has changed something since it waited last cannot be seen from here: it is let run until
//! it waits in any case.

use crate::hold::table::{Lasts, State, Table};
use crate::linux::procfs;
use crate::linux::ptrace::calls::{self, StoppedCall};
use crate::linux::sleeps::{self, Until};
use gate::profile::{self, Key};
use std::os::unix::ffi::OsStrExt;

/// What the profile says of this process's program.
pub fn lasts(pid: i32, profile: &str) -> Lasts {
    if is_named(pid, profile, Key::UntilExit) {
        Lasts::UntilExit
    } else if is_named(pid, profile, Key::UntilWait) {
        Lasts::UntilWait
    } else {
        Lasts::WhileLocked
    }
}

/// Is it to be at rest before others are stopped (`first`)?
pub fn is_first(pid: i32, profile: &str) -> bool {
    is_named(pid, profile, Key::First)
}

fn is_named(pid: i32, profile: &str, key: Key) -> bool {
    profile::values(profile, key).next().is_some()
        && procfs::exe(pid)
            .is_some_and(|exe| profile::matches(profile, key, exe.as_os_str().as_bytes()))
}

/// Is it in the middle of a set, all its threads being stopped, whatever its locks?
pub fn is_at_work(table: &Table, pid: i32, lasts: Lasts) -> bool {
    match lasts {
        Lasts::WhileLocked => false,
        Lasts::UntilWait => some_works(table, pid),
        Lasts::UntilExit => !procfs::done::nothing_yet(pid),
    }
}

/// Does one of its threads, all of which are stopped, neither wait nor begin to?
fn some_works(table: &Table, pid: i32) -> bool {
    let stopped = table.of(pid).filter(|(_, state)| *state == State::Stopped);
    let works = |tid| !calls::stopped_in(tid).is_some_and(|call| waits(pid, &call));
    stopped.map(|(tid, _)| tid).any(works)
}

/// Does a thread of this process wait in this call, or is it at its beginning?
pub fn waits(pid: i32, call: &StoppedCall) -> bool {
    if !call.was_waiting() && !call.is_at_beginning() {
        return false;
    }
    // What reads a file comes to no wait that is told of.
    let no_file = || {
        let link = format!("/proc/{pid}/fd/{}", call.arguments[0] as i32);
        std::fs::read_link(link).is_ok_and(|to| !to.is_absolute())
    };
    match sleeps::until(call.number) {
        Some(Until::Input) => call.was_waiting() || no_file(),
        Some(_) => true,
        None => false,
    }
}
