//! What keeps a gate from draining, in words that help: process, program, call,
//! path, lock, age.

use crate::census::files::{LockPaths, path_of, path_of_file};
use crate::census::member::Member;
use crate::census::shown::Shown;
use crate::duration::show_ms;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::procfs;
use crate::outcome::blocker::{Blocker, BlockerState};
use gate::locks::Lock;
use gate::word::{Doing, ThreadWord};
use std::sync::atomic::Ordering::Acquire;

/// How long ago that was, in ms; none: it is not known since when.
fn age(since: u64) -> Option<f64> {
    (since != 0).then(|| clock::now_ns().saturating_sub(since) as f64 / 1e6)
}

/// What a reading of a member showed that keeps the gate open. What is over since is named all the
/// same, with the file that it was about.
pub fn of_reading(member: &Member, shown: &Shown, paths: &mut LockPaths) -> Vec<Blocker> {
    let now = if member.gone { Shown::default() } else { Shown::now(member) };
    let mut all = of_what_it_showed(member, shown, &now, paths);
    all.extend(of_its_lock(member));
    match member.gone {
        true => all.into_iter().map(ended).collect(),
        false => all,
    }
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
    let seen = |blocker: &Blocker| {
        let ended = ended(blocker.clone());
        Blocker { why: format!("{} (seen {} before)", ended.why, show_ms(ago_ns)), ..ended }
    };
    before.iter().map(seen).collect()
}

/// The same, of one that is over.
fn ended(blocker: Blocker) -> Blocker {
    match blocker.state {
        BlockerState::Ended => blocker,
        _ => Blocker {
            state: BlockerState::Ended,
            why: format!("{}; ended since", blocker.why),
            ..blocker
        },
    }
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
    let now = Shown::now(member);
    let mut all = of_what_it_showed(member, &now, &now, &mut LockPaths::default());
    all.extend(of_its_lock(member));
    all
}

/// By the lock that no region accounts for.
fn of_its_lock(member: &Member) -> Option<Blocker> {
    member.unaccounted_lock.as_ref().map(|lock| Blocker {
        path: Some(ForeignText::from(lock.path.clone())).filter(|path| !path.is_empty()),
        ..blank(member, lock.why.words())
    })
}

/// By what it showed; of that is over what it does not show `now`.
fn of_what_it_showed(
    member: &Member,
    shown: &Shown,
    now: &Shown,
    paths: &mut LockPaths,
) -> Vec<Blocker> {
    let mut all = Vec::new();
    let mut add = |is_still: bool, why: &str, about: Blocker| {
        let blocker = Blocker { why: why.into(), ..about };
        all.push(if is_still { blocker } else { ended(blocker) });
    };
    let blank = || blank(member, String::new());
    if shown.without_region {
        add(now.without_region, &without_region(member), blank());
    }
    if shown.unknown {
        add(now.unknown, "is becoming another program (exec)", blank());
    }
    if shown.in_section {
        let is_still = now.in_section;
        let path = |lock: Lock| match is_still {
            true => paths.of_held(member, &lock),
            false => paths.of_ended(member, &lock),
        };
        let why = match shown.lock {
            Some(lock) => format!("section open under a lock ({:?})", lock.kind),
            None if shown.process.until_exit() => "section lasts until the process ends".into(),
            None if shown.process.until_wait() => "section lasts until the process waits".into(),
            None => "section open, no lock known".into(),
        };
        let (path, age_ms) = (shown.lock.map(path), age(shown.section_since));
        add(is_still, &why, Blocker { path, age_ms, ..blank() });
    }
    for call in &shown.calls {
        let (is_still, word) = (now.calls.contains(call), call.1);
        // After the call its descriptor may stand for another file.
        let fd = word.fd().filter(|_| is_still);
        let path = fd.and_then(|fd| path_of(member.pid, fd));
        let call = Some(gate::calls::name(word.call()).into());
        add(is_still, "inside a call that changes files", Blocker { call, path, ..blank() });
    }
    if shown.without_slot {
        let why = "threads without a place of their own are in flight";
        add(now.without_slot, why, blank());
    }
    if shown.in_doubt {
        let why = "under a lock it has changed a file that was not protected then, and is by the \
                   directories of this freeze";
        add(true, why, blank());
    }
    all
}

fn without_region(member: &Member) -> String {
    match member.denied {
        Some(error) => format!(
            "its region may not be read ({}): run as root on the host",
            std::io::Error::from_raw_os_error(error)
        ),
        None => "maps the control page and shows no region of its own".into(),
    }
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
    use gate::locks::{GUARDS, LockKind};
    use gate::word::ProcessWord;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    fn named_once() -> Blocker {
        Blocker {
            pid: 2,
            program: "imap".into(),
            uid: None,
            state: BlockerState::InFlight,
            call: None,
            path: Some("/mail/inbox".into()),
            why: "section open under a lock (Posix)".into(),
            age_ms: Some(7.0),
        }
    }

    #[test]
    fn one_that_has_ended_since_is_named_where_no_other_is() {
        let (now, before) = ([Blocker { pid: 1, ..named_once() }], [named_once()]);
        assert_eq!(named(now.to_vec(), &before, 0)[0].pid, 1);
        let ended = &named(Vec::new(), &before, 2_000_000)[0];
        assert_eq!((ended.pid, ended.state), (2, BlockerState::Ended));
        assert_eq!(
            ended.to_string(),
            "pid 2 (imap) /mail/inbox: section open under a lock (Posix); ended since (seen \
             2.0ms before), for 7 ms"
        );
    }

    /// A pass saw it under its lock; before it was named, the lock was gone.
    #[test]
    fn a_lock_that_ended_between_the_last_pass_and_its_naming_has_its_name() {
        let pid = std::process::id() as i32;
        let mut member = Member::new(pid, procfs::stat(pid).unwrap());
        member.fresh_fork = true;
        let path = std::env::temp_dir().join(format!("writegate-test-ended-{pid}"));
        let file = std::fs::File::create(&path).unwrap();
        let (dev, ino) = (file.metadata().unwrap().dev(), file.metadata().unwrap().ino());
        let lock = Lock {
            kind: LockKind::Flock,
            flags: GUARDS,
            fd: file.as_raw_fd(),
            group: 1,
            dev,
            ino,
            start: 0,
            end: u64::MAX,
            since: 0,
        };
        let process = ProcessWord::default().with_locks(1).section_begun();
        let shown = Shown { process, in_section: true, lock: Some(lock), ..Shown::default() };
        let name = path.display().to_string();
        let mut paths = LockPaths::default();
        let said = |member: &Member, paths: &mut LockPaths| {
            let all = of_reading(member, &shown, paths);
            let [one] = &all[..] else { panic!("{all:?}") };
            (one.state, one.path.as_ref().unwrap().to_string(), one.why.clone())
        };
        let why = "section open under a lock (Flock); ended since".to_string();
        assert_eq!(said(&member, &mut paths), (BlockerState::Ended, name.clone(), why.clone()));
        // Its file is closed too: what was told while it was held is remembered.
        paths.of_held(&member, &lock);
        drop(file);
        assert_eq!(said(&member, &mut paths), (BlockerState::Ended, name.clone(), why.clone()));
        let number = format!("inode {ino} on {dev:#x}");
        let unknown = said(&member, &mut LockPaths::default());
        assert_eq!(unknown, (BlockerState::Ended, number, why.clone()));
        member.gone = true;
        assert_eq!(said(&member, &mut paths), (BlockerState::Ended, name, why));
        std::fs::remove_file(&path).unwrap();
    }
}
