//! Words that mean nothing: a call on a socket, pipe or terminal, a thread that
//! no longer exists, a call that was left by siglongjmp; and sections whose locks the kernel says are gone.
//!
//! While the gate is open nobody classifies descriptors (it would cost 180 ns a
//! call), so a daemon asleep in `write(socket)` shows a call in flight. Each is
//! disregarded for that very word: the next entry has another.

use crate::census::Member;
use crate::linux::procfs;
use gate::calls::{Rule, TABLE};
use gate::word::{Doing, ThreadWord};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// Is this the word of a thread inside a call, or about to be?
pub fn calling(word: ThreadWord) -> bool {
    matches!(word.doing(), Doing::Call | Doing::Asking)
}

/// Slots of this member that show `was` already: asleep in one call since then.
pub fn stuck_slots(member: &Member, was: &[gate::view::ThreadView]) -> Vec<(usize, ThreadWord)> {
    let Some(view) = &member.view else { return Vec::new() };
    let slots = view.slots().iter().enumerate().zip(was);
    slots
        .map(|((at, slot), was)| (at, ThreadWord(slot.word.load(Acquire)), was))
        .filter(|(at, word, was)| {
            calling(*word) && *word == was.word && !member.disregards(*at, word.0)
        })
        .map(|(at, word, _)| (at, word))
        .collect()
}

/// Judges those slots; what means nothing goes to `member.disregarded`.
pub fn disregard(member: &mut Member, stuck: &[(usize, ThreadWord)]) {
    let Some(view) = &member.view else { return };
    let same_namespace = view.header().pid.load(Acquire) == member.pid;
    let slots = view.slots();
    let mut means_nothing = Vec::new();
    for &(at, word) in stuck {
        let Some(slot) = slots.get(at) else { continue };
        let tid = slot.tid.load(Acquire);
        let Some(thread) = procfs::thread(member.pid, same_namespace, tid) else {
            // Only a process that still has its threads listed can have lost one.
            if Path::new(&format!("/proc/{}/task", member.pid)).exists() {
                means_nothing.push((at, word.0));
            }
            continue;
        };
        let fd = match word.fd() {
            Some(fd) => Some(fd),
            None => stream_fd(member.pid, thread, word),
        };
        let left = || was_left(member.pid, thread, slot.stack.load(Acquire));
        if fd.is_some_and(|fd| not_a_stored_file(member.pid, fd)) || left() {
            // The word must still be the one that was judged.
            if slot.word.load(Acquire) == word.0 {
                means_nothing.push((at, word.0));
            }
        }
    }
    member.disregarded.retain(|(at, _)| !means_nothing.iter().any(|(new, _)| new == at));
    member.disregarded.extend(means_nothing);
}

/// Was the call left by siglongjmp or cancellation? Its thread sleeps in the kernel
/// with a stack that ends above the call's frame. (The library itself sees that at
/// the thread's next call, unless that lies deeper than the one that was left.)
///
/// A handler on an alternate stack that lies above the frame in the same mapping
/// would look alike; nobody puts one there.
fn was_left(pid: i32, thread: i32, frame: u64) -> bool {
    let Some(top) = procfs::stack_pointer(pid, thread) else { return false };
    frame != 0 && top > frame && procfs::one_mapping(pid, frame, top)
}

/// The descriptor under a stream, from the system call the thread sleeps in.
fn stream_fd(pid: i32, thread: i32, word: ThreadWord) -> Option<i32> {
    let rule = TABLE.get(word.call() as usize).and_then(|info| info.rule)?;
    let stream = matches!(
        rule,
        Rule::Stream(_)
            | Rule::Flush(_)
            | Rule::Stdout
            | Rule::Stderr
            | Rule::StderrList
            | Rule::StreamClose(_)
    );
    let (number, fd) = procfs::syscall_fd(pid, thread)?;
    let writes = [libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_sendto];
    (stream && writes.contains(&number)).then_some(fd)
}

/// Can a change to this descriptor not reach a snapshot?
fn not_a_stored_file(pid: i32, fd: i32) -> bool {
    let link = format!("/proc/{pid}/fd/{fd}");
    let Some(file) = crate::linux::sys::known(Path::new(&link)) else { return false };
    if [libc::S_IFSOCK, libc::S_IFIFO, libc::S_IFCHR].iter().any(|kind| file.is(*kind)) {
        return true;
    }
    // A regular file on tmpfs is not disregarded: it may lie below a protected
    // directory, and nobody sleeps in a call on it.
    fs::read_link(&link).is_ok_and(|to| to.to_string_lossy().starts_with("anon_inode:"))
}

/// Is somebody of this member at work in the kernel or on a processor, though
/// its words do not move: a slow disk is no deadlock.
pub fn at_work(member: &Member) -> bool {
    let Some(view) = &member.view else { return false };
    let same_namespace = view.header().pid.load(Acquire) == member.pid;
    let busy = |of: &str| {
        fs::read_to_string(format!("/proc/{of}/stat")).is_ok_and(|text| {
            let state = text.rfind(") ").and_then(|at| text[at + 2..].chars().next());
            matches!(state, Some('D' | 'R'))
        })
    };
    let tids = view.slots().iter().map(|slot| slot.tid.load(Acquire)).filter(|tid| *tid > 0);
    tids.take(16)
        .filter_map(|tid| procfs::thread(member.pid, same_namespace, tid))
        .any(|thread| busy(&format!("{}/task/{thread}", member.pid)))
}

/// Does the kernel know no lock at all of this process, though its table lists
/// some that count (released by a raw system call, a lost unlock)?
pub fn locks_are_gone(member: &Member) -> Option<u64> {
    let view = member.view.as_ref()?;
    let header = view.header();
    let word = gate::word::ProcessWord(header.process.load(Acquire));
    if !word.section_open() || word.until_wait() || word.until_exit() {
        return None;
    }
    let mut listed = header.locks.iter().filter_map(|p| p.get()).filter(|l| l.counts()).peekable();
    listed.peek()?;
    // A dotlock is no kernel lock: it lasts as long as its file.
    if listed.any(|lock| lock.kind == gate::locks::LockKind::Dot) {
        return None;
    }
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", member.pid)).ok()?;
    for info in infos {
        let text = fs::read_to_string(info.ok()?.path()).ok()?;
        if text.lines().any(|line| line.starts_with("lock:")) {
            return None;
        }
    }
    (header.process.load(Acquire) == word.0).then_some(word.0)
}

/// The device and inode of a descriptor, for messages.
pub fn path_of(pid: i32, fd: i32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// The path of a file that this process has open, by device and inode.
pub fn path_of_file(pid: i32, dev: u64, ino: u64) -> Option<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let is_it = |file: crate::linux::sys::Known| (file.dev, file.ino) == (dev, ino);
    fds.filter(|fd| crate::linux::sys::known(&fd.path()).is_some_and(is_it))
        .find_map(|fd| fs::read_link(fd.path()).ok())
        .map(|path| path.to_string_lossy().into_owned())
}
