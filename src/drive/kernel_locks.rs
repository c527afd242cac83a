//! Before a drain is believed, the regions' accounts are held against the kernel's locks.
//!
//! | when | what is read |
//! |---|---|
//! | before the barrier | /proc/locks; the descriptors of every member that may have one of those locks (`census::listed_locks`), and who is behind lines that no member explains |
//! | in the last pass | /proc/locks; if a line of it is not explained (`explained_locks`), the descriptors of those members whose account has moved since |
//! | while something is unaccounted for | the same, in every pass |
//!
//! A lock that no region accounts for makes its holder in flight: a member, or a process that is none
//! and is concerned (`lock_owners`); but for what the profile calls held for life.
//!
//! The first reading of /proc/locks in a while takes some ms, the next one some µs: so it is asked for in
//! the pauses, too (`pause`).

use crate::census::kernel_locks::{
    HeldLock, LocksLook, held_on_by_threads, lists_inode, look, may_guard, unaccounted,
};
use crate::census::listed_locks::Listed;
use crate::census::member::Member;
use crate::census::unaccounted::{UnaccountedLock, WhyUnaccounted};
use crate::drive::lock_owners::{Whose, asked, is_nobody, is_still_shown, place_of};
use crate::drive::session::Session;
use crate::evidence::ancestry::is_kin;
use crate::linux::look::{Look, WhyNot};
use crate::linux::namespaces::is_first_pid_namespace;
use crate::linux::procfs;
use crate::linux::procfs::locks::{KernelLock, all};
use crate::outcome::blocker::Blocker;
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use gate::profile::{self, Key};
use std::collections::{HashMap, HashSet};

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
