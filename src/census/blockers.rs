//! What keeps a gate from draining, in words that help: process, program, call,
//! path, lock, age.

use crate::census::files::{path_of, path_of_file, path_of_lock};
use crate::census::member::{Member, is_calling};
use crate::duration::show_ms;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::procfs;
use crate::outcome::blocker::{Blocker, BlockerState};
use gate::word::{Doing, ProcessWord, ThreadWord};
use std::sync::atomic::Ordering::Acquire;

/// How long ago that was, in ms; none: it is not known since when.
fn age(since: u64) -> Option<f64> {
    (since != 0).then(|| clock::now_ns().saturating_sub(since) as f64 / 1e6)
}

/// A member that a pass has just seen in flight: named also if it has ended meanwhile.
pub fn of_one_in_flight(member: &Member) -> Vec<Blocker> {
    let now = of(member);
    if !now.is_empty() {
        return now;
    }
    vec![Blocker {
        state: BlockerState::Ended,
        ..blank(member, "was in flight, and ended since".into())
    }]
}

/// A member that was let past the barrier and has not done yet what it was let in for.
pub fn let_in(member: &Member) -> Blocker {
    let why = "was let in, for a process in flight waited for it, and is not done";
    Blocker { state: BlockerState::Admitted, ..blank(member, why.into()) }
}

/// Those to be named when a drain is given up: those that are in flight then, or else those
/// that were `ago_ns` before.
pub fn named(now: Vec<Blocker>, before: &[Blocker], ago_ns: u64) -> Vec<Blocker> {
    if !now.is_empty() {
        return now;
    }
    let ended = |blocker: &Blocker| Blocker {
        state: BlockerState::Ended,
        why: format!("{}; ended since (seen {} before)", blocker.why, show_ms(ago_ns)),
        ..blocker.clone()
    };
    before.iter().map(ended).collect()
}

/// One that is no member, and holds a lock under which it may have changed something.
pub fn stranger_with_lock(pid: i32, program: ForeignText, path: ForeignText) -> Blocker {
    Blocker {
        pid,
        program,
        uid: procfs::uid(pid),
        state: BlockerState::InFlight,
        call: None,
        path: Some(path),
        why: "is not gated and holds a lock: what it changes under it may be half-done".into(),
        age_ms: None,
    }
}

/// Everything about one member that keeps the gate open, now.
pub fn of(member: &Member) -> Vec<Blocker> {
    let mut all = of_its_words(member);
    all.extend(member.unaccounted_lock.as_ref().map(|lock| Blocker {
        path: Some(ForeignText::from(lock.path.clone())).filter(|path| !path.is_empty()),
        ..blank(member, lock.why.words())
    }));
    all
}

fn of_its_words(member: &Member) -> Vec<Blocker> {
    let blank = |why: String| blank(member, why);
    let Some(view) = member.view.as_ref() else {
        if member.fresh_fork {
            return Vec::new();
        }
        let why = match member.denied {
            Some(error) => format!(
                "its region may not be read ({}): run as root on the host",
                std::io::Error::from_raw_os_error(error)
            ),
            None => "maps the control page and shows no region of its own".into(),
        };
        return vec![blank(why)];
    };
    let mut all = Vec::new();
    if member.unknown {
        all.push(blank("is becoming another program (exec)".into()));
    }
    let header = view.header();
    let process = ProcessWord(header.process.load(Acquire));
    let over = [member.settled, member.locks_gone].contains(&Some(process.0));
    if process.section_open() && !over {
        let lock = header.locks.locks().find(|l| l.counts());
        let path = lock.map(|l| path_of_lock(member, &l));
        all.push(Blocker {
            path,
            age_ms: age(header.section_since.load(Acquire)),
            ..blank(match lock {
                Some(lock) => format!("section open under a lock ({:?})", lock.kind),
                None if process.until_exit() => "section lasts until the process ends".into(),
                None if process.until_wait() => "section lasts until the process waits".into(),
                None => "section open, no lock known".into(),
            })
        });
    }
    for (at, slot) in view.slots().iter().enumerate() {
        let word = ThreadWord(slot.word.load(Acquire));
        if is_calling(word) && !member.disregards(at, word.0) {
            all.push(Blocker {
                call: Some(gate::calls::name(word.call()).into()),
                path: word.fd().and_then(|fd| path_of(member.pid, fd)),
                ..blank("inside a call that changes files".into())
            });
        }
    }
    if header.overflow.load(Acquire) > 0 {
        all.push(blank("threads without a place of their own are in flight".into()));
    }
    all
}

fn blank(member: &Member, why: String) -> Blocker {
    Blocker {
        pid: member.pid,
        program: member.stat.comm.clone(),
        uid: procfs::uid(member.pid),
        state: BlockerState::InFlight,
        call: None,
        path: None,
        why,
        age_ms: None,
    }
}

/// One that was asked whether it has quiesced, and has not.
pub fn not_quiesced(member: &Member) -> Blocker {
    blank(member, "has not been seen to wait since those that are held first had ended".into())
}

/// Threads of one member that wait, at the barrier or for a lock.
pub fn waiting(member: &Member) -> Vec<Blocker> {
    let Some(view) = member.view.as_ref() else { return Vec::new() };
    let mut all = Vec::new();
    for slot in view.slots() {
        let word = ThreadWord(slot.word.load(Acquire));
        let (state, why, path) = match word.doing() {
            Doing::Held => (
                BlockerState::Held,
                "waits at the barrier",
                word.fd().and_then(|fd| path_of(member.pid, fd)),
            ),
            Doing::LockWait => {
                let (dev, ino) = (slot.wait_dev.load(Acquire), slot.wait_ino.load(Acquire));
                (BlockerState::WaitsForLock, "waits for a lock", path_of_file(member.pid, dev, ino))
            }
            _ => continue,
        };
        all.push(Blocker {
            pid: member.pid,
            program: member.stat.comm.clone(),
            uid: procfs::uid(member.pid),
            state,
            call: Some(gate::calls::name(word.call()).into()),
            path,
            why: why.into(),
            age_ms: age(slot.since.load(Acquire)),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_ended_since_is_named_where_no_other_is() {
        let blocker = |pid| Blocker {
            pid,
            program: "imap".into(),
            uid: None,
            state: BlockerState::InFlight,
            call: None,
            path: Some("/mail/inbox".into()),
            why: "section open under a lock (Posix)".into(),
            age_ms: Some(7.0),
        };
        let (now, before) = ([blocker(1)], [blocker(2)]);
        assert_eq!(named(now.to_vec(), &before, 0)[0].pid, 1);
        let ended = &named(Vec::new(), &before, 2_000_000)[0];
        assert_eq!((ended.pid, ended.state), (2, BlockerState::Ended));
        assert_eq!(
            ended.to_string(),
            "pid 2 (imap) /mail/inbox: section open under a lock (Posix); ended since (seen \
             2.0ms before), for 7 ms"
        );
    }
}
