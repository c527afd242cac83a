//! The locks that the kernel shows, held against the regions' accounts.
//!
//! A region is a process's own account of its locks, and drifts: a descriptor was duplicated
//! before it was locked, a child locked what it shares with its parent, a system call was made
//! past the library. The kernel's list does not. A lock that guards writing and that no region
//! accounts for is a section in flight.
//!
//! A region accounts for a lock if it lists it as a lock of its own: then its process word tells
//! whether something was changed under it. A lock that came with a fork or an exec is the one's
//! that took it; while that one holds it too, by the kernel, its region accounts for it.

use crate::census::member::Member;
use crate::census::unaccounted::{UnaccountedLock, WhyUnaccounted};
use crate::linux::file::cached_stat;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;
use crate::linux::procfs::inodes_told::InodesTold;
use crate::linux::procfs::locks::{self, DescriptorLock, KernelLock, KernelLockKind};
use gate::locks::{FOR_LIFE, GUARDS, INHERITED, Lock, LockKind, NO_DEVICE};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// How often it is looked until two looks at the region agree.
const LOOKS: usize = 4;

/// A lock on a descriptor of a process, as the kernel shows it.
#[derive(Clone, Debug)]
pub struct HeldLock {
    /// What the kernel says.
    pub lock: KernelLock,
    /// Guards writing.
    pub guards: bool,
    /// Number of the descriptor.
    pub fd: i32,
    /// Device of the locked file, as `stat` says it.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Its path.
    pub path: String,
}

/// What one look at a member's descriptors saw.
#[derive(Clone, Debug)]
pub struct LocksLook {
    /// The region's name, its process word and its lock sequence, before the look and after it.
    version: Version,
    /// The locks.
    pub held: Vec<HeldLock>,
    /// They changed during the look.
    pub unstable: bool,
}

/// A read lock keeps no writer's set together, but for an flock shared by a writer.
pub fn may_guard(lock: &KernelLock) -> bool {
    lock.write || lock.kind == KernelLockKind::Flock
}

/// Nonce, process word, lock sequence.
pub(super) type Version = (u64, u64, u64);

pub(super) fn version(member: &Member) -> Version {
    let Some(view) = &member.view else { return (0, 0, 0) };
    let header = view.header();
    (member.nonce, header.process.load(Acquire), header.lock_sequence.load(Acquire))
}

impl LocksLook {
    /// It has none that guards, and its account said so much meanwhile.
    pub(super) fn none(version: Version) -> LocksLook {
        LocksLook { version, held: Vec::new(), unstable: false }
    }

    /// Has the member's account not changed since?
    pub fn is_of_now(&self, member: &Member) -> bool {
        !self.unstable && member.nonce != 0 && self.version == version(member)
    }
}

/// The locks on all descriptors of a member.
pub fn look(member: &Member) -> Look<LocksLook> {
    let mut by = member.pid;
    for _ in 0..LOOKS {
        let before = version(member);
        let held = held_by(&by.to_string());
        // Where the first thread has ended, another one has the descriptors.
        let now = procfs::seen_by(member.pid);
        let same = now == by;
        by = now;
        match held {
            Look::Seen(held) if same && before == version(member) => {
                return Look::Seen(LocksLook { version: before, held, unstable: false });
            }
            Look::Gone(proof) if same => return Look::Gone(proof),
            Look::NotSeen(why) if same && why != WhyNot::Changing => return Look::NotSeen(why),
            // Only the thread by which it was looked at, or it did not stand still.
            Look::Seen(_) | Look::Gone(_) | Look::NotSeen(_) => {}
        }
    }
    Look::Seen(LocksLook { version: version(member), held: Vec::new(), unstable: true })
}

/// This lock as a process has it on a descriptor; none: on none.
pub fn held_on(pid: i32, line: &KernelLock, told: &InodesTold) -> Look<Option<HeldLock>> {
    held_on_descriptors(&pid.to_string(), line, told)
}

/// The same of the descriptors of threads that do not share the process's own table; of those of
/// which that can be told.
pub fn held_on_by_threads(pid: i32, line: &KernelLock) -> Option<HeldLock> {
    let Look::Seen(tids) = procfs::threads(pid) else { return None };
    let told = InodesTold::by([line].into_iter());
    let others = tids.into_iter().filter(|tid| *tid != pid);
    let of = |tid: i32| match held_on_descriptors(&format!("{pid}/task/{tid}"), line, &told) {
        Look::Seen(held) => held,
        Look::Gone(_) | Look::NotSeen(_) => None,
    };
    others.into_iter().find_map(of)
}

/// Of a process, or of a thread (`PID/task/TID`).
fn held_on_descriptors(of: &str, line: &KernelLock, told: &InodesTold) -> Look<Option<HeldLock>> {
    let held = on_descriptors(of, locks::on_descriptors_of_file(of, told.inode(line)));
    held.map(|held| held.into_iter().find(|held| held.lock == *line))
}

/// The locks on the descriptors of a process, or of a thread (`PID/task/TID`).
pub fn held_by(of: &str) -> Look<Vec<HeldLock>> {
    on_descriptors(of, locks::on_descriptors(of))
}

/// The same, with the files that they are on.
fn on_descriptors(of: &str, found: Look<Vec<DescriptorLock>>) -> Look<Vec<HeldLock>> {
    let on_descriptors = match found {
        Look::Seen(found) => found,
        Look::Gone(proof) => return Look::Gone(proof),
        Look::NotSeen(why) => return Look::NotSeen(why),
    };
    let found = on_descriptors.into_iter().map(|on| {
        let link = format!("/proc/{of}/fd/{}", on.fd);
        let file = cached_stat(Path::new(&link))?;
        let path = fs::read_link(&link).ok()?.to_string_lossy().into_owned();
        let DescriptorLock { fd, lock, guards } = on;
        Some(HeldLock { lock, guards, fd, dev: file.dev, ino: file.ino, path })
    });
    // A descriptor was closed meanwhile, or is not to be had.
    found.collect::<Option<_>>().map_or(Look::NotSeen(WhyNot::Changing), Look::Seen)
}

/// What a region says of a lock that the kernel shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// It is a lock of the process's own; its word tells the rest. Or it is held for life.
    Listed,
    /// It came with a fork or an exec.
    Inherited,
    /// Nothing, or that it guards nothing.
    NotListed,
}

fn same_kind(ours: LockKind, kernels: KernelLockKind) -> bool {
    matches!(
        (ours, kernels),
        (LockKind::Posix, KernelLockKind::Posix)
            | (LockKind::Flock, KernelLockKind::Flock)
            | (LockKind::Ofd, KernelLockKind::Ofd)
    )
}

/// Is this entry about that file? One of a process that must not ask names the descriptor.
fn same_file(lock: &Lock, held: &HeldLock) -> bool {
    match lock.dev {
        NO_DEVICE => lock.fd == held.fd,
        _ => (lock.dev, lock.ino) == (held.dev, held.ino),
    }
}

/// What these entries of a region say of that lock.
fn account(listed: impl Iterator<Item = Lock>, held: &HeldLock) -> Account {
    let of_it = listed.filter(|lock| same_kind(lock.kind, held.lock.kind) && same_file(lock, held));
    let mut found = Account::NotListed;
    for lock in of_it {
        let own = lock.flags & GUARDS != 0 && lock.flags & INHERITED == 0;
        if own || lock.flags & FOR_LIFE != 0 {
            return Account::Listed;
        }
        if lock.flags & INHERITED != 0 {
            found = Account::Inherited;
        }
    }
    found
}

/// What a member's region says of that lock. One that was forked and has done nothing has no
/// region: whatever it holds came with the fork.
pub fn account_of(member: &Member, held: &HeldLock) -> Account {
    match &member.view {
        Some(view) => account(view.header().locks.locks(), held),
        None if member.fresh_fork => Account::Inherited,
        None => Account::NotListed,
    }
}

/// Does a member's region account for this line of /proc/locks, which names it as the taker? The one
/// descriptor that the region names is asked, and no other. A POSIX lock belongs to the process
/// itself; it needs no asking where the line tells the file as the region does.
pub fn accounts_for(member: &Member, line: &KernelLock) -> bool {
    let Some(view) = &member.view else { return false };
    let own = |lock: &Lock| {
        lock.flags & FOR_LIFE != 0 || lock.flags & GUARDS != 0 && lock.flags & INHERITED == 0
    };
    let is_held = |lock: &Lock| {
        let file = || cached_stat(Path::new(&format!("/proc/{}/fd/{}", member.pid, lock.fd)));
        line.kind == KernelLockKind::Posix && line.stat_dev() == Some(lock.dev)
            || lock.fd >= 0
                && locks::on_descriptor(member.pid, lock.fd).contains(line)
                && (lock.dev == NO_DEVICE
                    || file().is_some_and(|file| (file.dev, file.ino) == (lock.dev, lock.ino)))
    };
    view.header()
        .locks
        .locks()
        .filter(|lock| own(lock) && same_kind(lock.kind, line.kind))
        .filter(|lock| lock.dev == NO_DEVICE || lock.ino == line.ino())
        .any(|lock| is_held(&lock))
}

/// The first guarding lock of this member that no region accounts for, but for those that are exempt.
/// The looks are by place among the members.
pub fn unaccounted(
    members: &[Member],
    looks: &HashMap<usize, LocksLook>,
    place: usize,
    is_exempt: impl Fn(&HeldLock) -> bool,
) -> Option<UnaccountedLock> {
    let held = looks.get(&place)?.held.iter().filter(|held| held.guards);
    held.into_iter().find_map(|held| {
        let why = match account_of(&members[place], held) {
            Account::Listed => return None,
            Account::Inherited if takers_account(members, looks, place, held) => return None,
            Account::Inherited => WhyUnaccounted::Inherited,
            Account::NotListed => WhyUnaccounted::NotListed,
        };
        (!is_exempt(held)).then(|| UnaccountedLock { path: held.path.clone(), why })
    })
}

/// Does another member hold it too, by the kernel, and account for it?
fn takers_account(
    members: &[Member],
    looks: &HashMap<usize, LocksLook>,
    place: usize,
    held: &HeldLock,
) -> bool {
    let same = |one: &HeldLock| {
        one.lock.kind == held.lock.kind && (one.dev, one.ino) == (held.dev, held.ino)
    };
    members.iter().enumerate().any(|(other, member)| {
        other != place
            && !member.gone
            && looks.get(&other).is_some_and(|look| look.held.iter().any(same))
            && account_of(member, held) == Account::Listed
    })
}

/// Does a member's region list a lock of its own on a file with this inode? (For a line of
/// /proc/locks, which does not say which file it is about.)
pub fn lists_inode(member: &Member, lock: &KernelLock) -> bool {
    let Some(view) = &member.view else { return false };
    view.header().locks.locks().any(|listed| {
        same_kind(listed.kind, lock.kind)
            && listed.ino == lock.ino()
            && (listed.flags & FOR_LIFE != 0
                || listed.flags & GUARDS != 0 && listed.flags & INHERITED == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate::locks::JUDGED;

    fn held(kind: KernelLockKind) -> HeldLock {
        let lock =
            KernelLock { kind, write: true, pid: 7, file: "00:1b:3".into(), range: "0 EOF".into() };
        HeldLock { lock, guards: true, fd: 3, dev: 27, ino: 3, path: "/m/l".into() }
    }

    fn listed(kind: LockKind, flags: u32) -> Lock {
        let (dev, ino) = (27, 3);
        Lock { kind, flags, fd: 3, group: 1, dev, ino, start: 0, end: u64::MAX, since: 0 }
    }

    #[test]
    fn what_a_region_says_of_a_lock() {
        let says = |entries: &[Lock], held: &HeldLock| account(entries.iter().copied(), held);
        let flock = held(KernelLockKind::Flock);
        assert_eq!(says(&[], &flock), Account::NotListed);
        let own = listed(LockKind::Flock, GUARDS);
        assert_eq!(says(&[own], &flock), Account::Listed);
        assert_eq!(says(&[own], &held(KernelLockKind::Ofd)), Account::NotListed, "other kind");
        assert_eq!(says(&[own], &held(KernelLockKind::Lease)), Account::NotListed, "a lease");
        let elsewhere = Lock { dev: 28, ..own };
        assert_eq!(says(&[elsewhere], &flock), Account::NotListed, "other device");
        let not_asked = |fd| Lock { dev: NO_DEVICE, ino: 0, fd, ..own };
        assert_eq!(says(&[not_asked(3)], &flock), Account::Listed, "by its descriptor");
        assert_eq!(says(&[not_asked(4)], &flock), Account::NotListed, "another descriptor");
        let read = listed(LockKind::Flock, 0);
        assert_eq!(says(&[read], &flock), Account::NotListed, "a conversion was missed");
        let came = listed(LockKind::Flock, GUARDS | INHERITED);
        assert_eq!(says(&[came], &flock), Account::Inherited);
        assert_eq!(says(&[came, own], &flock), Account::Listed);
        let for_life = listed(LockKind::Flock, GUARDS | INHERITED | JUDGED | FOR_LIFE);
        assert_eq!(says(&[for_life], &flock), Account::Listed);
    }
}
