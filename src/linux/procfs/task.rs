//! `/proc/PID/task`: what the threads of a process do.

use super::stat::{LOOK_NS, is_gone, stat_of, threads};
use super::status::innermost_pid;
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::look_time::LookTime;
use crate::linux::process;
use crate::linux::sleeps::{self, Until};
use std::fs;

/// Where in the kernel one sleeps that opens a FIFO (fs/pipe.c: the one may be part of the other).
const OPENS_A_FIFO: [&[u8]; 2] = [b"wait_for_partner", b"fifo_open"];

/// Do all threads of this process sleep in such calls (or, if `clock`, until some time has
/// passed)? Also if it is dead; not if that cannot be told.
pub fn waits_for_others(pid: i32, clock: bool) -> bool {
    let sleeps = |tid| match stat_of(&format!("{pid}/task/{tid}")).map(|stat| stat.state) {
        Ok('S') => syscall_fd(pid, tid).is_some_and(|(call, _)| {
            sleeps::until(call)
                .is_some_and(|until| clock || !matches!(until, Until::Time | Until::Again))
        }),
        // Dead: the others tell.
        Ok('Z' | 'X') => true,
        // On a processor, at the disk, stopped.
        Ok(_) => false,
        Err(e) => is_gone(&e),
    };
    all_threads(pid, sleeps)
}

/// Has every thread begun to exit? Also if the process is there no more; not if that cannot be
/// told.
pub fn is_exiting(pid: i32) -> bool {
    all_threads(pid, |tid| match stat_of(&format!("{pid}/task/{tid}")) {
        Ok(stat) => stat.exiting,
        Err(e) => is_gone(&e),
    })
}

/// Does that hold of all threads, as far as they can be asked in time? Also if there are none.
fn all_threads(pid: i32, holds: impl Fn(i32) -> bool) -> bool {
    let time = LookTime::of(LOOK_NS);
    match threads(pid) {
        Look::Seen(tids) => tids.into_iter().all(|tid| !time.is_over() && holds(tid)),
        Look::Gone(_) => true,
        Look::NotSeen(_) => false,
    }
}

/// Is a thread of this process seen in the kernel at a disk?
pub fn hangs(pid: i32) -> bool {
    let time = LookTime::of(LOOK_NS);
    let at_a_disk = |tid| stat_of(&format!("{pid}/task/{tid}")).is_ok_and(|stat| stat.state == 'D');
    match threads(pid) {
        Look::Seen(tids) => tids.into_iter().any(|tid| !time.is_over() && at_a_disk(tid)),
        Look::Gone(_) | Look::NotSeen(_) => false,
    }
}

/// Is this thread on a processor, or in the kernel at a disk?
pub fn works(pid: i32, tid: i32) -> bool {
    stat_of(&format!("{pid}/task/{tid}")).is_ok_and(|stat| matches!(stat.state, 'D' | 'R'))
}

fn syscall_of(pid: i32, tid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()
}

/// The descriptor that a thread's present system call has as its first argument.
pub fn syscall_fd(pid: i32, tid: i32) -> Option<(i64, i32)> {
    let text = syscall_of(pid, tid)?;
    let mut fields = text.split_ascii_whitespace();
    let number = fields.next()?.parse().ok()?;
    let first = fields.next()?.strip_prefix("0x")?;
    Some((number, u64::from_str_radix(first, 16).ok()? as i32))
}

/// Does this thread sleep in the opening of a FIFO, until somebody opens its other end? It has changed
/// nothing so far, and will not by that. False also where the kernel does not tell.
pub fn opens_a_fifo(pid: i32, tid: i32) -> bool {
    let place = fs::read(format!("/proc/{pid}/task/{tid}/wchan")).unwrap_or_default();
    OPENS_A_FIFO.iter().any(|name| place.starts_with(name))
}

/// Where the stack of a thread ends that sleeps in the kernel; none while it runs.
pub fn stack_pointer(pid: i32, tid: i32) -> Option<u64> {
    stack_pointer_in(&syscall_of(pid, tid)?)
}

/// "number six-arguments stack-pointer instruction", or "-1 stack-pointer
/// instruction" outside a system call, or "running".
pub fn stack_pointer_in(text: &str) -> Option<u64> {
    let hex = text.split_ascii_whitespace().rev().nth(1)?.strip_prefix("0x")?;
    u64::from_str_radix(hex, 16).ok()
}

/// The thread of `pid` (as we number it) that calls itself `tid` in its namespace. Gone: the process
/// has no such thread.
pub fn thread(pid: i32, same_namespace: bool, tid: i32) -> Look<i32> {
    if same_namespace {
        return match process::has_thread(pid, tid) {
            true => Look::Seen(tid),
            false => Look::Gone(Proof::NoProcess),
        };
    }
    let tids = match threads(pid) {
        Look::Seen(tids) => tids,
        Look::Gone(proof) => return Look::Gone(proof),
        Look::NotSeen(why) => return Look::NotSeen(why),
    };
    let mut unknown = false;
    for outer in tids {
        match innermost_pid(&format!("{pid}/task/{outer}")) {
            Some(inner) if inner == tid => return Look::Seen(outer),
            Some(_) => {}
            None => unknown |= process::has_thread(pid, outer),
        }
    }
    match unknown {
        true => Look::NotSeen(WhyNot::Changing),
        false => Look::Gone(Proof::NoProcess),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::sleeper::Sleeper;

    #[test]
    fn the_stack_pointer_is_the_last_but_one() {
        let asleep = "0 0x0 0x7ffd1 0x1 0x0 0x0 0x0 0x7ffd8 0x7f00\n";
        assert_eq!(stack_pointer_in(asleep), Some(0x7ffd8));
        assert_eq!(stack_pointer_in("-1 0x7ffd8 0x7f00\n"), Some(0x7ffd8));
        assert_eq!(stack_pointer_in("running\n"), None);
    }

    #[test]
    fn asleep_for_the_clock_is_not_waiting_for_others() {
        let me = std::process::id() as i32;
        let child = Sleeper::new();
        let pid = child.pid();
        assert!(!waits_for_others(pid, false), "for the clock");
        assert!(!is_exiting(pid) && !is_exiting(me));
        child.end();
        assert!(!waits_for_others(me, true) && waits_for_others(pid, false) && is_exiting(pid));
    }
}
