//! Programs whose sets of writes last until they wait (`until-wait` in the profile), with or without a
//! lock: at rest is such a one where it waits, or is about to.
//!
//! Whether it has changed something since it waited last cannot be seen from here: it is let run until
//! it waits in any case.

use crate::hold::table::{State, Table};
use crate::linux::procfs;
use crate::linux::ptrace::calls::{self, StoppedCall};
use crate::linux::sleeps::{self, Until};
use gate::profile::{self, Key};
use std::os::unix::ffi::OsStrExt;

/// Does the profile say that this program's sets last until it waits?
pub fn lasts_until_wait(pid: i32, profile: &str) -> bool {
    profile::values(profile, Key::UntilWait).next().is_some()
        && procfs::exe(pid).is_some_and(|exe| {
            profile::matches(profile, Key::UntilWait, exe.as_os_str().as_bytes())
        })
}

/// Does one of its threads, all of which are stopped, neither wait nor begin to?
pub fn some_works(table: &Table, pid: i32) -> bool {
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
