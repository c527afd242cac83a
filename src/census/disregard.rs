//! Words that mean nothing: a call on a socket, pipe or terminal, the opening of a FIFO that nobody
//! else opens, a thread that no longer exists, a call that was left by siglongjmp; and sections
//! whose locks the kernel says are gone.
//!
//! While the gate is open the library does not classify descriptors (it would cost 180 ns a
//! call), so a daemon asleep in `write(socket)` shows a call in flight. Each is
//! disregarded for that very word: the next entry has another.

use crate::census::dotlocks;
use crate::census::member::{Member, is_calling};
use crate::linux::clock;
use crate::linux::file::cached_stat;
use crate::linux::helper::owner::Helper;
use crate::linux::look::Look;
use crate::linux::procfs::{self, locks};
use gate::calls::{Rule, TABLE};
use gate::locks::{Lock, LockKind};
use gate::region::FLAG_LOCKS_UNKNOWN;
use gate::word::{Doing, ThreadWord};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// Slots of this member that show `was` already: asleep in one call since then.
pub fn stuck_slots(member: &Member, was: &[gate::view::ThreadView]) -> Vec<(usize, ThreadWord)> {
    let Some(view) = &member.view else { return Vec::new() };
    let slots = view.slots().iter().enumerate().zip(was);
    slots
        .map(|((at, slot), was)| (at, ThreadWord(slot.word.load(Acquire)), was))
        .filter(|(at, word, was)| {
            is_calling(*word) && *word == was.word && !member.disregards(*at, word.0)
        })
        .map(|(at, word, _)| (at, word))
        .collect()
}

/// Judges those slots, as far as that can be done `until` then; what means nothing goes to `member.disregarded`.
pub fn disregard(
    member: &mut Member,
    helper: &mut Helper,
    stuck: &[(usize, ThreadWord)],
    until: u64,
) {
    let Some(view) = &member.view else { return };
    let same_namespace = member.numbers_as_we_do();
    let slots = view.slots();
    let mut means_nothing = Vec::new();
    for &(at, word) in stuck {
        let Some(slot) = slots.get(at) else { continue };
        // Whatever its region shows: a word that was not judged counts.
        if clock::now_ns() >= until {
            break;
        }
        let tid = slot.tid.load(Acquire);
        let thread = match procfs::thread(member.pid, same_namespace, tid) {
            Look::Seen(thread) => thread,
            Look::Gone(_) => {
                means_nothing.push((at, word.0));
                continue;
            }
            Look::NotSeen(_) => continue,
        };
        // One that merely asks has lost its processor. If it is not let pass it takes its number back, and a
        // drain that had counted that number would take this for a call that passed.
        let asks = word.doing() == Doing::Asking;
        let fd = match word.fd() {
            _ if asks => None,
            Some(fd) => Some(fd),
            None => stream_fd(member.pid, thread, word),
        };
        if fd.is_some_and(|fd| not_a_stored_file(member.pid, fd))
            || !asks && procfs::opens_a_fifo(member.pid, thread)
            || was_left(member.pid, helper, thread, slot.stack.load(Acquire))
        {
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
/// would look alike; no program is known to put one there.
fn was_left(pid: i32, helper: &mut Helper, thread: i32, frame: u64) -> bool {
    let Some(top) = procfs::stack_pointer(pid, thread) else { return false };
    frame != 0 && top > frame && helper.one_mapping(pid, frame, top) == Some(true)
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
    let Some(file) = cached_stat(Path::new(&link)) else { return false };
    if [libc::S_IFSOCK, libc::S_IFIFO, libc::S_IFCHR].iter().any(|kind| file.is(*kind)) {
        return true;
    }
    // A regular file on tmpfs is not disregarded: it may lie below a protected
    // directory, and no thread sleeps in a call on it.
    fs::read_link(&link).is_ok_and(|to| to.to_string_lossy().starts_with("anon_inode:"))
}

/// So many threads of a process are asked whether they work.
const THREADS_ASKED: usize = 16;

/// Is a thread of this member at work in the kernel or on a processor, though
/// its words do not move: a slow disk is no deadlock.
pub fn at_work(member: &Member) -> bool {
    let Some(view) = &member.view else { return false };
    let same_namespace = member.numbers_as_we_do();
    let tids = view.slots().iter().map(|slot| slot.tid.load(Acquire)).filter(|tid| *tid > 0);
    tids.take(THREADS_ASKED).any(|tid| match procfs::thread(member.pid, same_namespace, tid) {
        Look::Seen(thread) => procfs::works(member.pid, thread),
        Look::Gone(_) | Look::NotSeen(_) => false,
    })
}

/// Does the kernel know no lock at all of this process, and are its lock files gone, though its
/// table lists some that count (released by a raw system call, a lost unlock, a lock file that
/// another process has removed)? The process word of which that holds.
pub fn locks_are_gone(member: &Member, helper: &mut Helper) -> Option<u64> {
    let region = member.view.as_ref()?.claimed();
    let header = region.header();
    let word = member.process_word()?;
    if !word.section_open() || word.until_wait() || word.until_exit() {
        return None;
    }
    let listed: Vec<Lock> = header.locks.locks().filter(|l| l.counts()).collect();
    // When its table was full, it has locked something that is not in it.
    let lost = header.flags.load(Acquire) & FLAG_LOCKS_UNKNOWN != 0;
    if listed.is_empty() && !lost || locks::holds_none(member.pid) != Look::Seen(true) {
        return None;
    }
    // A dotlock is no kernel lock: it lasts as long as its file.
    let files = listed.iter().filter(|lock| lock.kind == LockKind::Dot);
    let mut files = files.map(|lock| dotlocks::file_of(region, lock));
    if files.any(|file| dotlocks::is_there(member.pid, &file, helper)) {
        return None;
    }
    // A thread may have descriptors of its own, and a file that is mapped keeps its lock without
    // a descriptor. Only what another process that lives has taken is surely not this one's.
    let anothers =
        |pid: i32| pid > 0 && pid != member.pid && procfs::stat(pid).is_some_and(|s| !s.is_dead());
    let Look::Seen(lines) = locks::all() else { return None };
    let may_be_its = |line: &locks::KernelLock| {
        listed.iter().any(|lock| lock.ino == line.ino()) && !anothers(line.pid)
    };
    if lines.iter().any(may_be_its) {
        return None;
    }
    (member.process_word()? == word).then_some(word.0)
}
