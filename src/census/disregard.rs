//! Words that mean nothing: a call on a socket, pipe or terminal, the opening of a FIFO that nobody
//! else opens, a thread that no longer exists, a call that was left by siglongjmp; and sections
//! whose locks the kernel says are gone.
//!
//! While the gate is open the library does not classify descriptors (it would cost 180 ns a
//! call), so a daemon asleep in `write(socket)` shows a call in flight. Each is
//! disregarded for that very word: the next entry has another.

use crate::census::dotlocks;
use crate::census::member::{Member, is_calling};
use crate::census::region::MappedRegion;
use crate::linux::clock;
use crate::linux::file::cached_stat;
use crate::linux::helper::owner::Helper;
use crate::linux::look::Look;
use crate::linux::procfs::{self, locks};
use gate::calls::{Rule, TABLE};
use gate::locks::{Lock, LockKind};
use gate::region::{FLAG_LOCKS_UNKNOWN, Slot};
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
        let tid = thread_of(view, slot);
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

/// Which thread a slot is of, as its process numbers it. In a forked child the first thread has the slot that
/// it had in its parent. Where another thread was here before it and made the region, that one could not know
/// which slot this is, and the slot names nobody: no other thread has one that it did not claim.
fn thread_of(view: &MappedRegion, slot: &Slot) -> i32 {
    match slot.tid.load(Acquire) {
        0 => view.header().pid.load(Acquire),
        tid => tid,
    }
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
    let used = |slot: &&Slot| slot.tid.load(Acquire) > 0 || slot.word.load(Acquire) != 0;
    let tids = view.slots().iter().filter(used).map(|slot| thread_of(view, slot));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::foreign::anonymous_file;
    use crate::linux::mapping::Mapping;
    use gate::region::{MAGIC, SIZE, SLOTS_OFFSET};
    use std::mem::offset_of;
    use std::os::fd::AsRawFd;

    /// Its slot names nobody (another thread has made the region): the call of a thread that is gone would mean
    /// nothing, and this one was under way when the drain was over.
    #[test]
    fn a_call_of_the_first_thread_counts_where_another_made_the_region() {
        let pid = std::process::id() as i32;
        let stored = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let file = anonymous_file(SIZE).unwrap();
        let mut map = Mapping::new(&file, SIZE, true).unwrap();
        let word = ThreadWord::default().enter(Doing::Call, 1, Some(stored.as_raw_fd()));
        let mut put = |at: usize, bytes: &[u8]| {
            map.bytes_mut().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(offset_of!(gate::region::Header, magic), &MAGIC.to_ne_bytes());
        put(offset_of!(gate::region::Header, pid), &pid.to_ne_bytes());
        put(offset_of!(gate::region::Header, slots_used), &2u32.to_ne_bytes());
        put(SLOTS_OFFSET + offset_of!(Slot, word), &word.0.to_ne_bytes());
        let view = Some(MappedRegion::new(&file, false).unwrap());
        let mut member = Member { view, ..Member::new(pid, procfs::stat(pid).unwrap()) };
        let mut helper = Helper::new(Vec::new(), Vec::new()).unwrap();
        let mut judge = |member: &mut Member| {
            disregard(member, &mut helper, &[(0, word)], u64::MAX);
            member.disregards(0, word.0)
        };
        assert!(!judge(&mut member), "in flight");
        // One that is named, and gone.
        put(SLOTS_OFFSET + offset_of!(Slot, tid), &i32::MAX.to_ne_bytes());
        assert!(judge(&mut member));
    }
}
