//! Who is behind a line of /proc/locks that no member's descriptors explain, and whether it is the
//! gate's business.
//!
//! A process that is no member is concerned if it was one, descends from one, or can write below a
//! protected directory. Our own kin is left out, and who is another gate's.

use crate::census::blockers;
use crate::census::kernel_locks::{HeldLock, held_on, held_on_by_threads, lists_inode};
use crate::census::list::Census;
use crate::census::member::Member;
use crate::drive::session::Session;
use crate::evidence::ancestry::{is_kin, reaches};
use crate::linux::file::cached_stat;
use crate::linux::look::{Look, WhyNot};
use crate::linux::namespaces::is_first_pid_namespace;
use crate::linux::process::has_thread;
use crate::linux::procfs;
use crate::linux::procfs::inodes_told::InodesTold;
use crate::linux::procfs::locks::{
    KernelLock, all, may_have_some_on_their_way, on_their_way_is_told, open_for_writing,
};
use crate::linux::procfs::mounts::reaches_device;
use crate::outcome::blocker::Blocker;
use crate::places::Places;
use std::collections::HashSet;
use std::fs;

/// Whose a line of /proc/locks is that no member's descriptors explain.
pub(super) enum Whose {
    /// None of the gate's business.
    Others,
    /// This process can have changed nothing of the gate's: no line of it is the gate's business.
    Unconcerned(i32),
    /// A process that is no member and is concerned.
    Stranger(Blocker),
    /// A process that was not in the census: it is now.
    Newcomer,
    /// The taker is dead or not told, and no descriptor explains it.
    Nobodys,
    /// The same, of those that could be looked at.
    NotSeen,
}

impl Session {
    /// Who is behind a line that no member's descriptors explain?
    pub(super) fn whose(&mut self, at: usize, line: &KernelLock) -> Whose {
        let told = InodesTold::by([line].into_iter());
        if !is_nobody(line.pid) {
            if self.census.is_of_another_gate(line.pid) {
                return Whose::Unconcerned(line.pid);
            }
            let Look::Seen(held) = held_on(line.pid, line, &told) else {
                // Gone meanwhile, or not to be seen: the next reading tells.
                return self.judge_stranger(at, line.pid, line, None);
            };
            let held = held.or_else(|| held_on_by_threads(line.pid, line));
            return self.judge_stranger(at, line.pid, line, held.as_ref());
        }
        let Ok(pids) = procfs::pids() else { return Whose::NotSeen };
        let members: HashSet<i32> = asked(&self.census, at).map(|(_, member)| member.pid).collect();
        let mut all_seen = true;
        for pid in pids.into_iter().filter(|pid| !members.contains(pid)) {
            match held_on(pid, line, &told) {
                Look::Seen(Some(held)) => return self.judge_stranger(at, pid, line, Some(&held)),
                Look::Seen(None) => {}
                Look::Gone(_) => {}
                // Of somebody else it explains nothing.
                Look::NotSeen(_) => all_seen &= !self.may_be_concerned(at, pid),
            }
        }
        // Only for a moment: a lock of a description may have been given up meanwhile.
        match is_still_shown(line) {
            false => Whose::Others,
            true if all_seen => Whose::Nobodys,
            true => Whose::NotSeen,
        }
    }

    /// A lock of which no process has a descriptor lies in a socket, on its way. Can it come to a member?
    pub(super) fn may_come_to_a_member(&self, at: usize, line: &KernelLock) -> bool {
        if !on_their_way_is_told() || !is_first_pid_namespace() && self.is_in_reach(at, line) {
            return true;
        }
        let members = || asked(&self.census, at).map(|(_, member)| member);
        let is_on_its_way = || members().any(|member| may_have_some_on_their_way(member.pid));
        let told = InodesTold::by([line].into_iter());
        let has_come = |member: &Member| match held_on(procfs::seen_by(member.pid), line, &told) {
            Look::Seen(held) => held.is_some(),
            Look::Gone(_) => false,
            Look::NotSeen(_) => true,
        };
        members().any(|member| lists_inode(member, line))
            || is_on_its_way()
            || members().any(has_come)
            || is_on_its_way()
    }

    /// In a container whoever holds it may be a process that is not shown to us. That one is the gate's
    /// business as far as its file can be: on a file system that neither we nor a member can reach there is
    /// no protected file and no lock file of theirs. (What such a process locks otherwise, the kernel does
    /// not show in a container at all.)
    fn is_in_reach(&self, at: usize, line: &KernelLock) -> bool {
        let Some(device) = line.device() else { return true };
        let mut seen = HashSet::new();
        let members = asked(&self.census, at).map(|(_, member)| member.pid);
        let ours = std::process::id() as i32;
        std::iter::once(ours)
            .chain(members)
            .filter(|pid| procfs::mount_namespace(*pid).is_none_or(|mounts| seen.insert(mounts)))
            .any(|pid| reaches_device(pid, device) != Some(false))
    }

    fn judge_stranger(
        &mut self,
        at: usize,
        pid: i32,
        line: &KernelLock,
        held: Option<&HeldLock>,
    ) -> Whose {
        if pid == self.helper.pid() || self.census.ours.contains(&pid) {
            return Whose::Others;
        }
        // It is brought to rest when all else is drained.
        if !self.held_later.is_empty() && reaches(pid, |one| self.held_later.contains(&one)) {
            return Whose::Others;
        }
        let guards = held.map_or(line.write, |held| held.guards);
        if !guards || held.is_some_and(|held| self.is_for_life(at, held)) {
            return Whose::Others;
        }
        let stat = match procfs::look_at(pid) {
            Look::Seen(stat) => stat,
            Look::Gone(_) => return Whose::Others,
            Look::NotSeen(_) => return Whose::NotSeen,
        };
        let seen = self.census.seen.get(&pid).filter(|seen| seen.start == stat.start);
        let undecided = seen.is_none_or(|seen| seen.image != stat.image || seen.kind.may_come());
        if undecided && self.takes_in(at, pid) {
            return Whose::Newcomer;
        }
        let elsewhere = self.census.elsewhere.contains(&pid)
            || self.census.gates.iter().flatten().any(|m| m.pid == pid && !m.gone);
        if elsewhere || !self.is_concerned(at, pid, stat.start) || is_kin(pid, &self.census) {
            return Whose::Unconcerned(pid);
        }
        let path = held.map_or_else(|| format!("inode {}", line.file), |held| held.path.clone());
        Whose::Stranger(blockers::stranger_with_lock(pid, stat.comm, path.into()))
    }

    /// A process that came since: is it a member of this gate?
    fn takes_in(&mut self, at: usize, pid: i32) -> bool {
        let Session { census, helper, .. } = self;
        census.look(helper, &[pid]);
        place_of(census, at, pid).is_some()
    }

    /// The same of one that could not be looked at.
    fn may_be_concerned(&self, at: usize, pid: i32) -> bool {
        match procfs::look_at(pid) {
            Look::Seen(stat) => self.is_concerned(at, pid, stat.start),
            Look::Gone(_) => false,
            Look::NotSeen(_) => true,
        }
    }

    /// Could it have changed something of the gate's?
    fn is_concerned(&self, at: usize, pid: i32, start: u64) -> bool {
        let members = &self.census.gates[at];
        let was_one = || members.iter().any(|m| m.pid == pid && m.stat.start == start);
        let alive: HashSet<i32> = self.census.alive(at).map(|member| member.pid).collect();
        let writes = |places| writes_below(pid, places);
        was_one()
            || reaches(pid, |one| alive.contains(&one))
            || self.protected.get(at).is_some_and(writes)
    }
}

/// Does the kernel show this lock now? Also if that cannot be told.
pub(super) fn is_still_shown(line: &KernelLock) -> bool {
    match all() {
        Look::Seen(lines) => lines.contains(line),
        Look::Gone(_) | Look::NotSeen(_) => true,
    }
}

/// The members that are waited for, with their places.
pub(super) fn asked(census: &Census, at: usize) -> impl Iterator<Item = (usize, &Member)> {
    census.gates[at].iter().enumerate().filter(|(_, member)| !member.gone)
}

pub(super) fn place_of(census: &Census, at: usize, pid: i32) -> Option<usize> {
    asked(census, at).find(|(_, member)| member.pid == pid).map(|(place, _)| place)
}

/// No process that is there: a description's lock, or one that a process took which is dead.
pub(super) fn is_nobody(pid: i32) -> bool {
    pid <= 0 || procfs::stat(pid).is_none_or(|stat| stat.is_dead() && procfs::is_exiting(pid))
}

/// Has this process a file of these places open for writing, by whatever name?
fn writes_below(pid: i32, places: &Places) -> bool {
    let has_one = |thread: i32| {
        // A thread's id stands for its process in /proc too, but for the descriptors: those are
        // its own.
        let fds = match fs::read_dir(format!("/proc/{thread}/fd")) {
            Ok(fds) => fds,
            // A user who may look at nobody's files is not stopped by everybody's locks.
            Err(e) => {
                return has_thread(pid, thread) && !WhyNot::of(&e).is_for_want_of_rights();
            }
        };
        fds.flatten().any(|fd| {
            let link = fd.path();
            let file = cached_stat(&link);
            places.may_hold_open_file(file.as_ref())
                && fs::read_link(&link)
                    .is_ok_and(|path| places.hold_open_file(pid, file.as_ref(), &path))
                && match open_for_writing(&link) {
                    Look::Seen(writes) => writes,
                    Look::Gone(_) => false,
                    Look::NotSeen(_) => true,
                }
        })
    };
    // The first thread may have ended, and its descriptors with it.
    !places.dirs.is_empty()
        && match procfs::threads(pid) {
            Look::Seen(tids) => tids.into_iter().any(has_one),
            Look::Gone(_) => false,
            Look::NotSeen(_) => true,
        }
}
