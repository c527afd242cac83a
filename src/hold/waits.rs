//! For whom a process at rest waits: who could make it go on.
//!
//! One that holds a lock may wait for an answer of another that is at rest too: a Postfix delivery
//! agent holds its message's lock until the queue manager has taken the result. Let go alone it would
//! never give its lock up. What a stopped thread waits for is told by its system call: a child, or the
//! other end of a local socket or a pipe. What is not seen (a mutex, a connection of TCP) is answered by
//! letting all go.

use crate::hold::table::{State, Table};
use crate::linux::foreign;
use crate::linux::procfs;
use crate::linux::ptrace::calls::{self, StoppedCall};
use crate::linux::sleeps::{self, Until};
use crate::linux::unix_sockets;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Calls that wait for the descriptor that is their first argument.
const ONE: [i64; 11] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendfile,
    libc::SYS_connect,
    libc::SYS_splice,
];
/// Calls that wait for any of the descriptors of a list. With the last one the kernel goes on with a poll that was stopped;
/// its arguments are the poll's still. (A sleep that it goes on with so has an address where the length would be, which is
/// none; a futex a flag, which may be one: what lies at its address is no such list, see
/// [`is_of_a_poll`].)
const LISTED: [i64; 3] = [libc::SYS_poll, libc::SYS_ppoll, libc::SYS_restart_syscall];
/// A longer list is a server's, which waits for nobody in particular.
const LISTED_MAX: usize = 16;
/// `struct pollfd`.
const LISTED_SIZE: usize = 8;

/// Who is looked at at most, from one that waits to the next.
const CHAIN_MAX: usize = 1_000;

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    /// The socket with this inode.
    Socket(u64),
    /// The reading (false) or writing (true) end of this pipe.
    Pipe(u64, bool),
}

/// Those that these wait for, and those that they wait for in turn; all are stopped.
pub fn waited_for(table: &Table, pids: &[i32]) -> BTreeSet<i32> {
    let mut found: BTreeSet<i32> = BTreeSet::new();
    let mut todo: Vec<i32> = pids.to_vec();
    let mut ends = Ends::default();
    let mut looked = 0;
    while let Some(pid) = todo.pop()
        && looked < CHAIN_MAX
    {
        looked += 1;
        let children = children_waited_for(table, pid).into_iter();
        let at_ends = waits_at(table, pid).into_iter().flat_map(|end| ends.those_at(table, end));
        for one in children.chain(at_ends).collect::<Vec<_>>() {
            if one != pid && !pids.contains(&one) && found.insert(one) {
                todo.push(one);
            }
        }
    }
    found
}

fn children_waited_for(table: &Table, pid: i32) -> Vec<i32> {
    let waits = table.of(pid).any(|(tid, state)| {
        let in_wait = || {
            calls::stopped_in(tid)
                .is_some_and(|call| sleeps::until(call.number) == Some(Until::Child))
        };
        state == State::ThroughChild || state == State::Stopped && in_wait()
    });
    if !waits {
        return Vec::new();
    }
    let is_child = |child: &&i32| procfs::stat(**child).is_some_and(|stat| stat.ppid == pid);
    table.processes.keys().filter(is_child).copied().collect()
}

/// The other ends of what its threads wait for.
fn waits_at(table: &Table, pid: i32) -> Vec<End> {
    let stopped = table.of(pid).filter(|(_, state)| *state == State::Stopped);
    let calls = stopped.filter_map(|(tid, _)| calls::stopped_in(tid));
    let fds = calls.filter(StoppedCall::was_waiting).flat_map(|call| waits_for(pid, &call));
    fds.filter_map(|fd| end_of(&format!("/proc/{pid}/fd/{fd}"))).collect()
}

fn waits_for(pid: i32, call: &StoppedCall) -> Vec<i32> {
    if ONE.contains(&call.number) {
        return vec![call.arguments[0] as i32];
    }
    let count = call.arguments[1] as usize;
    if !LISTED.contains(&call.number) || count > LISTED_MAX {
        return Vec::new();
    }
    // The kernel has read it for the call. One who has it on a disk that hangs holds us up until the timer ends us.
    let mut list = vec![0; count * LISTED_SIZE];
    if foreign::read_memory(pid, call.arguments[0], &mut list).is_err() {
        return Vec::new();
    }
    let polled = polled(&list);
    let is_open = |fd: i32| fs::symlink_metadata(format!("/proc/{pid}/fd/{fd}")).is_ok();
    if call.number == libc::SYS_restart_syscall && !is_of_a_poll(&polled, is_open) {
        return Vec::new();
    }
    polled.into_iter().map(|(fd, _)| fd).collect()
}

/// The descriptors in a list of `struct pollfd`, and what is awaited of each.
fn polled(list: &[u8]) -> Vec<(i32, i16)> {
    let entry = |entry: &[u8]| {
        let (fd, rest) = entry.split_first_chunk()?;
        Some((i32::from_ne_bytes(*fd), i16::from_ne_bytes(*rest.first_chunk()?)))
    };
    list.chunks_exact(LISTED_SIZE).filter_map(entry).filter(|(fd, _)| *fd >= 0).collect()
}

/// Is it such a list, and not what lies at a futex?
fn is_of_a_poll(polled: &[(i32, i16)], is_open: impl Fn(i32) -> bool) -> bool {
    polled.iter().all(|(fd, events)| *events != 0 && is_open(*fd))
}

/// What stands behind this link.
fn end_of(link: &str) -> Option<End> {
    let target = fs::read_link(link).ok()?;
    let target = target.to_str()?;
    let number = |kind: &str| target.strip_prefix(kind)?.strip_suffix(']')?.parse().ok();
    if let Some(inode) = number("socket:[") {
        return Some(End::Socket(inode));
    }
    let inode = number("pipe:[")?;
    let writes = fs::symlink_metadata(link).ok()?.mode() & 0o200 != 0;
    Some(End::Pipe(inode, writes))
}

/// Who has which ends: read when first asked for.
#[derive(Default)]
struct Ends {
    by_end: Option<BTreeMap<End, Vec<i32>>>,
    peers: Option<BTreeMap<u64, u64>>,
}

impl Ends {
    /// Those that have the other end of this one.
    fn those_at(&mut self, table: &Table, end: End) -> Vec<i32> {
        let other = match end {
            End::Pipe(inode, writes) => Some(End::Pipe(inode, !writes)),
            End::Socket(inode) => {
                let peers =
                    self.peers.get_or_insert_with(|| unix_sockets::peers().unwrap_or_default());
                peers.get(&inode).map(|peer| End::Socket(*peer))
            }
        };
        let by_end = self.by_end.get_or_insert_with(|| ends_of_all(table));
        other.and_then(|other| by_end.get(&other)).cloned().unwrap_or_default()
    }
}

fn ends_of_all(table: &Table) -> BTreeMap<End, Vec<i32>> {
    let mut by_end: BTreeMap<End, Vec<i32>> = BTreeMap::new();
    for pid in table.processes.keys() {
        let Ok(links) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for link in links.flatten() {
            if let Some(end) = link.path().to_str().and_then(end_of) {
                by_end.entry(end).or_default().push(*pid);
            }
        }
    }
    by_end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_a_futex_is_no_list_of_descriptors() {
        let entry = |fd: i32, events: i16| {
            [&fd.to_ne_bytes()[..], &events.to_ne_bytes(), &0i16.to_ne_bytes()].concat()
        };
        let is_of_a_poll = |list: &[Vec<u8>]| is_of_a_poll(&polled(&list.concat()), |fd| fd < 5);
        let (input, left_out) = (entry(3, libc::POLLIN), entry(-1, 0));
        assert_eq!(polled(&[&input[..], &left_out].concat()), [(3, libc::POLLIN)]);
        assert!(is_of_a_poll(&[input.clone(), left_out]));
        assert!(!is_of_a_poll(&[input.clone(), entry(0, 0)]), "a word that is 0");
        assert!(!is_of_a_poll(&[input, entry(1 << 20, 1)]), "no descriptor");
    }
}
