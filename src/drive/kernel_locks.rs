//! Before a drain is believed, the regions' accounts are held against the kernel's locks.
//!
//! | when | what is read |
//! |---|---|
//! | before the barrier | /proc/locks; the descriptors of every member that may have one of those locks (`census::listed_locks`), and who is behind lines that no member explains |
//! | in the last pass | /proc/locks; if a line of it is not explained (`explained_locks`), the descriptors of those members whose account has moved since |
//! | while something is unaccounted for | the same, in every pass |
//!
//! A lock that no region accounts for makes its holder in flight: a member, one that descends
//! from a member, or one that can write below a protected directory. Our own kin is left out, as
//! is what the profile calls held for life.
//!
//! The first reading of /proc/locks in a while takes some ms, the next one some µs: so it is asked for in
//! the pauses, too (`pause`).
//!
//! Longer than other files: one comparison, and the questions that it alone asks.

use crate::census::blockers;
use crate::census::kernel_locks::{
    HeldLock, LocksLook, held_on, held_on_by_threads, lists_inode, look, may_guard, unaccounted,
};
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::census::listed_locks::Listed;
use crate::census::member::Member;
use crate::census::unaccounted::{UnaccountedLock, WhyUnaccounted};
use crate::drive::session::Session;
use crate::evidence::ancestry::{is_kin, reaches};
use crate::linux::look::{Look, WhyNot};
use crate::linux::namespaces::is_first_pid_namespace;
use crate::linux::process::has_thread;
use crate::linux::procfs;
use crate::linux::procfs::inodes_told::InodesTold;
use crate::linux::procfs::locks::{
    KernelLock, all, may_have_some_on_their_way, on_their_way_is_told, open_for_writing,
};
use crate::outcome::blocker::Blocker;
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use crate::places::Places;
use gate::profile::{self, Key};
use std::collections::{HashMap, HashSet};
use std::fs;

/// What is known of the kernel's locks during one gate's drain.
#[derive(Default)]
pub struct KernelLocks {
    /// By place in the census.
    pub(super) looks: HashMap<usize, LocksLook>,
    /// Lines of /proc/locks that are none of the gate's business.
    pub(super) others: HashSet<KernelLock>,
    /// Processes that are no members, and in flight by a lock.
    pub(super) strangers: Vec<Blocker>,
    /// Locks that the kernel shows and no descriptor explains.
    pub(super) unexplained: Vec<Finding>,
    /// Members whose locks may not be seen.
    unseen: HashMap<usize, WhyNot>,
    /// How many members' descriptors were read, since the barrier went up.
    pub(super) tables: u32,
}

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

/// What the short way has found (`explained_locks`).
pub(super) enum ShortWay {
    /// Every line is explained, but for these locks of members.
    Known(HashMap<usize, UnaccountedLock>),
    /// That is not known: the long way tells.
    Unknown,
    /// The same; and a process was taken into the census whose words no pass has read.
    Newcomer,
}

impl Session {
    /// Before the barrier: everybody is looked at once.
    pub(super) fn learn_locks(&mut self, at: usize) -> KernelLocks {
        self.refresh(at);
        let mut known = KernelLocks::default();
        let listed = self.list_locks(at);
        for (place, member) in asked(&self.census, at) {
            let none = listed.as_ref().and_then(|listed| listed.holds_none(place, member));
            if let Look::Seen(look) = none.map_or_else(|| look(member), Look::Seen) {
                known.looks.insert(place, look);
            }
        }
        let mut unconcerned = HashSet::new();
        for line in known.unexplained_lines() {
            if unconcerned.contains(&line.pid) {
                known.others.insert(line);
                continue;
            }
            if place_of(&self.census, at, line.pid).is_some() {
                if self.is_mapped_for_life(at, &line) {
                    known.others.insert(line);
                }
                continue;
            }
            let whose = self.whose(at, &line);
            if let Whose::Unconcerned(pid) = whose {
                unconcerned.insert(pid);
            }
            if let Whose::Others | Whose::Unconcerned(_) = whose {
                known.others.insert(line);
            }
        }
        // It will be read in the last pass.
        let _ = all();
        known
    }

    /// The kernel's list; none where it does not show all, or cannot be read.
    pub(super) fn list_locks(&self, at: usize) -> Option<Listed> {
        if !is_first_pid_namespace() {
            return None;
        }
        match Listed::read(asked(&self.census, at)) {
            Look::Seen(listed) => Some(listed),
            Look::Gone(_) | Look::NotSeen(_) => None,
        }
    }

    /// In the last pass, and in every pass while something is unaccounted for. True: something is.
    pub(super) fn compare_locks(&mut self, at: usize, known: &mut KernelLocks) -> bool {
        let mut newcomers = false;
        match self.explain_locks(at, known) {
            ShortWay::Known(unaccounted) => return self.take_unaccounted(at, unaccounted),
            ShortWay::Newcomer => newcomers = true,
            ShortWay::Unknown => {}
        }
        known.strangers.clear();
        known.unexplained.clear();
        known.unseen.clear();
        // In another namespace /proc/locks leaves out what a dead process took.
        let everybody = !is_first_pid_namespace();
        let mut looked = HashSet::new();
        for (place, member) in asked(&self.census, at) {
            let known_look = known.looks.get(&place);
            let fresh = known_look.is_some_and(|look| look.is_of_now(member));
            if everybody || !fresh || member.unaccounted_lock.is_some() {
                known.look_at(place, member);
                looked.insert(place);
            }
        }
        let mut lines = known.unexplained_lines();
        if lines.iter().any(|line| self.may_be_a_members(at, line)) {
            for (place, member) in asked(&self.census, at) {
                if !looked.contains(&place) {
                    known.look_at(place, member);
                }
            }
            lines = known.unexplained_lines();
        }
        let mut unaccounted = known.unaccounted(self, at);
        self.take_in_left_lock_files(at, &mut unaccounted);
        for line in lines {
            if let Some(place) = place_of(&self.census, at, line.pid) {
                if let Some(why) = self.no_leaders_lock(at, place, &line) {
                    unaccounted.entry(place).or_insert(why);
                }
                continue;
            }
            match self.whose(at, &line) {
                Whose::Others | Whose::Unconcerned(_) => {
                    known.others.insert(line);
                }
                Whose::Stranger(blocker) => known.strangers.push(blocker),
                Whose::Newcomer => newcomers = true,
                Whose::Nobodys if !self.may_come_to_a_member(at, &line) => {}
                Whose::Nobodys | Whose::NotSeen => {
                    let where_ = format!("inode {}", line.file);
                    known
                        .unexplained
                        .push(Finding::of(Cause::NobodysLock, line.pid, None).at(where_));
                }
            }
        }
        let some = self.take_unaccounted(at, unaccounted);
        newcomers || !known.strangers.is_empty() || some
    }

    /// Puts down which members have such a lock. True: some have.
    fn take_unaccounted(
        &mut self,
        at: usize,
        mut unaccounted: HashMap<usize, UnaccountedLock>,
    ) -> bool {
        for (place, member) in self.census.gates[at].iter_mut().enumerate() {
            let later = self.held_later.contains(&member.pid);
            member.unaccounted_lock = unaccounted.remove(&place).filter(|_| !later);
        }
        self.census.gates[at].iter().any(|m| !m.gone && m.unaccounted_lock.is_some())
    }

    /// Could one of the gate's members hold it, though none's descriptors were seen to?
    fn may_be_a_members(&self, at: usize, line: &KernelLock) -> bool {
        match place_of(&self.census, at, line.pid) {
            Some(place) => !lists_inode(&self.census.gates[at][place], line),
            None => is_nobody(line.pid),
        }
    }

    /// A member took a lock that the descriptors of its first thread do not explain.
    fn no_leaders_lock(
        &mut self,
        at: usize,
        place: usize,
        line: &KernelLock,
    ) -> Option<UnaccountedLock> {
        let member = &self.census.gates[at][place];
        let pid = member.pid;
        if lists_inode(member, line) || is_kin(pid, &self.census) {
            return None;
        }
        let by_thread = held_on_by_threads(pid, line);
        match by_thread {
            Some(held) if !held.guards || self.is_for_life(at, &held) => None,
            Some(held) => Some(UnaccountedLock { path: held.path, why: WhyUnaccounted::NotListed }),
            // Given up since it was listed.
            None if !line.write || !is_still_shown(line) => None,
            None if self.is_mapped_for_life(at, line) => None,
            None => {
                let mapped = self.helper.mapped_as(pid, &line.file);
                let path = mapped.unwrap_or_else(|| format!("inode {}", line.file));
                Some(UnaccountedLock { path, why: WhyUnaccounted::NoDescriptor })
            }
        }
    }

    /// Does the profile say that a lock on this file, which its taker has closed and still maps, is
    /// held for life?
    fn is_mapped_for_life(&mut self, at: usize, line: &KernelLock) -> bool {
        let path = self.helper.mapped_as(line.pid, &line.file);
        path.is_some_and(|path| self.is_path_for_life(at, &path))
    }

    pub(super) fn is_for_life(&self, at: usize, held: &HeldLock) -> bool {
        self.is_path_for_life(at, &held.path)
    }

    pub(super) fn is_path_for_life(&self, at: usize, path: &str) -> bool {
        let text = self.gates[at].page.get().profile_text();
        profile::matches(text, Key::LifetimeLock, path.as_bytes())
    }

    /// Who is behind a line that no member's descriptors explain?
    pub(super) fn whose(&mut self, at: usize, line: &KernelLock) -> Whose {
        let told = InodesTold::by([line].into_iter());
        if !is_nobody(line.pid) {
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
    fn may_come_to_a_member(&self, at: usize, line: &KernelLock) -> bool {
        // Elsewhere the holder may be a process that is not shown to us.
        if !is_first_pid_namespace() || !on_their_way_is_told() {
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
        let undecided =
            seen.is_none_or(|seen| seen.image != stat.image || seen.kind == ProcessKind::Undecided);
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

impl KernelLocks {
    /// Has the last comparison found something, or could something not be seen?
    pub(super) fn found_something(&self) -> bool {
        !(self.strangers.is_empty() && self.unexplained.is_empty() && self.unseen.is_empty())
    }

    /// Does this member hold that lock, by the last look at it?
    pub(super) fn holds(&self, place: usize, line: &KernelLock) -> bool {
        self.looks.get(&place).is_some_and(|look| look.held.iter().any(|held| held.lock == *line))
    }

    pub(super) fn look_at(&mut self, place: usize, member: &Member) {
        self.tables += 1;
        match look(member) {
            Look::Seen(look) => drop(self.looks.insert(place, look)),
            Look::Gone(_) => drop(self.looks.remove(&place)),
            Look::NotSeen(why) => {
                self.looks.remove(&place);
                // One that has just died needs none.
                if !procfs::is_exiting(member.pid) {
                    self.unseen.insert(place, why);
                }
            }
        }
    }

    /// The lines of /proc/locks that no member's descriptors explain.
    fn unexplained_lines(&mut self) -> Vec<KernelLock> {
        let mut lines = match all() {
            Look::Seen(lines) => lines,
            Look::Gone(_) => Vec::new(),
            Look::NotSeen(why) => {
                self.unexplained.push(Cause::NotSeen(Subject::AllLocks, why).into());
                return Vec::new();
            }
        };
        let explained: HashSet<&KernelLock> =
            self.looks.values().flat_map(|look| look.held.iter().map(|held| &held.lock)).collect();
        lines.retain(|line| {
            may_guard(line) && !explained.contains(line) && !self.others.contains(line)
        });
        lines
    }

    /// The members with a lock on a descriptor that no region accounts for.
    fn unaccounted(&self, session: &Session, at: usize) -> HashMap<usize, UnaccountedLock> {
        let mut found = HashMap::new();
        for (place, member) in asked(&session.census, at) {
            let unknown = |why| UnaccountedLock { path: String::new(), why };
            if let Some(why) = self.unseen.get(&place) {
                found.insert(place, unknown(WhyUnaccounted::NotSeen(*why)));
            }
            let Some(look) = self.looks.get(&place) else { continue };
            if look.unstable {
                found.insert(place, unknown(WhyUnaccounted::Unstable));
                continue;
            }
            let is_exempt = |held: &HeldLock| {
                session.is_for_life(at, held) || is_kin(member.pid, &session.census)
            };
            let members = &session.census.gates[at];
            if let Some(lock) = unaccounted(members, &self.looks, place, is_exempt) {
                found.insert(place, lock);
            }
        }
        found
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

fn place_of(census: &Census, at: usize, pid: i32) -> Option<usize> {
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
            fs::read_link(fd.path()).is_ok_and(|path| places.hold_open_file(pid, &fd.path(), &path))
                && match open_for_writing(&fd.path()) {
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
