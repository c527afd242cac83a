//! The processes that came since the census was made.
//!
//! Two questions. *Is each still what it was?* asked once after every closing: a process
//! that was none of ours may have become one by exec before the barrier went up, and a
//! member may have become another image. *Which were born?* asked before a drain is
//! believed, and while it makes no headway: a child that waits may be what its parent
//! waits for.

use crate::census::kinds::{ProcessKind, Seen};
use crate::census::list::Census;
use crate::census::member::Member;
use crate::linux::helper::owner::Helper;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs::{self, Children, Stat};

/// How often a listing is repeated because a process was born meanwhile.
const ROUNDS: usize = 2;
/// How far below the owner of a section a process may be that works for it.
const GENERATIONS: usize = 3;

impl Census {
    /// All processes, for the first time.
    pub fn scan(&mut self, helper: &mut Helper) {
        self.rescan(helper, false, false);
        self.newcomers.fill(0);
    }

    /// Everybody as it is now, before a drain begins.
    pub fn refresh(&mut self, helper: &mut Helper) {
        self.rescan(helper, true, true);
        self.remove_dead();
        self.newcomers.fill(0);
    }

    /// Takes in those that are new; with `images`, also those that have become something else;
    /// `seeking`, also forked children that had done nothing yet: a process in flight may wait
    /// for one of them. (Born behind a closed barrier they wait, and else do not matter.)
    pub fn rescan(&mut self, helper: &mut Helper, images: bool, seeking: bool) {
        self.take_mappings();
        self.list(helper, images, seeking);
        // After the list: what is born here from now on waits, and so it does elsewhere.
        self.look_for_hidden();
    }

    fn list(&mut self, helper: &mut Helper, images: bool, seeking: bool) {
        for round in 0..ROUNDS {
            // What was looked at in the first round was so after the closing: whatever it
            // becomes from then on waits.
            let first = round == 0;
            let born_before = procfs::last_pid();
            self.note_numbers(born_before);
            let listed = match procfs::pids() {
                Ok(pids) => {
                    self.unlisted = procfs::hides_processes().then_some(WhyNot::Hidden);
                    pids
                }
                Err(e) => {
                    self.unlisted = Some(WhyNot::of(&e));
                    return;
                }
            };
            let mut look = Vec::new();
            for pid in listed {
                if self.must_look(pid, first && images, first && seeking) {
                    look.push(pid);
                }
            }
            self.look(helper, &look);
            // A parent that forked and died while we listed would hide its child. (One
            // that seeks asks again anyway.)
            if seeking || born_before.is_some() && procfs::last_pid() == born_before {
                break;
            }
        }
    }

    /// Where it cannot be told they are taken to have begun anew.
    fn note_numbers(&mut self, newest: Option<u64>) {
        self.numbers_again |= newest.is_none() || newest < self.newest;
        self.newest = newest.max(self.newest);
    }

    fn must_look(&mut self, pid: i32, images: bool, seeking: bool) -> bool {
        if self.ours.contains(&pid) {
            return false;
        }
        let Some(seen) = self.seen.get_mut(&pid) else { return true };
        // What was seen under this number says nothing of another process. (A kernel thread's is still
        // one's that has no program: that is told sooner.)
        let is_kernels =
            || seen.kind == ProcessKind::Kernel && procfs::runs_a_program(pid) == Some(false);
        let asked = self.numbers_again || images && !is_kernels();
        let now = asked.then(|| procfs::look_at(pid));
        if now.as_ref().is_some_and(|now| is_another(now, seen)) {
            return true;
        }
        if let Some(Look::Seen(now)) = &now {
            seen.parent = now.ppid;
        }
        let seen = *seen;
        if self.unseen.contains_key(&pid) {
            return images || seeking;
        }
        match seen.kind {
            ProcessKind::Kernel => false,
            ProcessKind::Sharing => true,
            // It may have passed our constructor before the closing, or in an opening.
            ProcessKind::Undecided | ProcessKind::Static => images || seeking,
            // Without a region of its own yet, or on its way to another image.
            ProcessKind::Member(gate, at)
                if self.gates[gate][at].nonce == 0 || self.gates[gate][at].unknown =>
            {
                let member = &self.gates[gate][at];
                !member.gone && (images || seeking || !member.fresh_fork)
            }
            _ => images && now.is_some_and(|now| has_other_image(&now, &seen)),
        }
    }

    /// Looks anew at members of a gate without a region, or in exec.
    pub fn look_again(&mut self, helper: &mut Helper, gate: usize) {
        let again = |m: &&Member| !m.gone && (m.nonce == 0 && !m.fresh_fork || m.unknown);
        let pids: Vec<i32> = self.gates[gate].iter().filter(again).map(|m| m.pid).collect();
        if !pids.is_empty() {
            self.look(helper, &pids);
        }
    }

    /// Takes in the children of open sections, which a process in flight may wait for, and
    /// theirs: a listing of all processes costs some ms, and is made for the end.
    pub fn look_for_children(&mut self, helper: &mut Helper, gate: usize, owners: &[usize]) {
        let mut parents: Vec<i32> = owners.iter().map(|at| self.gates[gate][*at].pid).collect();
        for _ in 0..GENERATIONS {
            // Whom this does not show, the listing at the end does.
            let mut listing = Children::default();
            let of = |pid| match listing.of(pid) {
                Look::Seen(children) => children,
                Look::Gone(_) | Look::NotSeen(_) => Vec::new(),
            };
            let children: Vec<i32> = parents.into_iter().flat_map(of).collect();
            let mut new = children.clone();
            new.retain(|pid| self.must_look(*pid, false, true));
            if !new.is_empty() {
                self.look(helper, &new);
            }
            parents = children;
        }
    }

    /// How many newcomers a gate has that it was not told of.
    pub fn take_newcomers(&mut self, gate: usize) -> u32 {
        std::mem::take(&mut self.newcomers[gate])
    }
}

/// Is what was seen under this number another process now, or may it be?
fn is_another(now: &Look<Stat>, seen: &Seen) -> bool {
    match now {
        Look::Seen(now) => now.start != seen.start,
        Look::Gone(_) => false,
        Look::NotSeen(_) => true,
    }
}

/// The same of another program.
fn has_other_image(now: &Look<Stat>, seen: &Seen) -> bool {
    match now {
        Look::Seen(now) => now.image != seen.image,
        Look::Gone(_) => false,
        Look::NotSeen(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::sleeper::Sleeper;

    #[test]
    fn a_number_that_is_used_again_is_looked_at_whatever_it_stood_for() {
        let me = std::process::id() as i32;
        let child = Sleeper::new();
        let pid = child.pid();
        let now = procfs::stat(pid).unwrap();
        let must_look = |kind, start, numbers_again| {
            let mut census = Census::default();
            census.numbers_again = numbers_again;
            census.ours.insert(me);
            census.seen.insert(pid, Seen { start, image: now.image, parent: me, kind });
            (census.must_look(pid, true, false), census.must_look(pid, false, false))
        };
        let kernel = must_look(ProcessKind::Kernel, now.start - 1, false);
        let dead = must_look(ProcessKind::Dead, now.start - 1, false);
        let again = must_look(ProcessKind::Other, now.start - 1, true);
        let same = must_look(ProcessKind::Kernel, now.start, true);
        child.end();
        assert_eq!((kernel, dead), ((true, false), (true, false)));
        assert_eq!((again, same), ((true, true), (false, false)));
    }

    #[test]
    fn numbers_that_begin_anew_are_noticed() {
        let mut census = Census::default();
        for (newest, again) in
            [(Some(7), false), (Some(9), false), (Some(8), true), (Some(10), true)]
        {
            census.note_numbers(newest);
            assert_eq!(census.numbers_again, again);
        }
        let mut census = Census::default();
        census.note_numbers(None);
        assert!(census.numbers_again);
    }
}
