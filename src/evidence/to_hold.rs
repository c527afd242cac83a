//! Whom the gate cannot hold and the tracer can (`--hold-ungated`): what speaks against the snapshot
//! by such a process does not, if the process stood still at rest from before the snapshot until
//! after it.
//!
//! Found before the barrier, held behind it, judged after the thaw by process id and start time.

use crate::census::list::Census;
use crate::census::member::Member;
use crate::linux::look::Look;
use crate::linux::{clock, procfs};
use crate::outcome::cause::Cause;
use crate::outcome::finding::Finding;
use crate::outcome::held::{NotHeld, Obstacle};
use gate::profile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Whom a gate wants held at rest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Whom {
    /// Anybody: whom the gate cannot hold, as far as that is found.
    pub any: bool,
    /// Gated processes of these programs too (patterns): what they do past the gate is not found.
    pub programs: Vec<String>,
}

impl Whom {
    /// Is this gated process named by its program?
    pub fn names(&self, pid: i32) -> bool {
        let named = |exe: PathBuf| {
            let exe = exe.as_os_str().as_encoded_bytes();
            self.programs.iter().any(|program| profile::glob(program.as_bytes(), exe))
        };
        !self.programs.is_empty() && procfs::exe(pid).is_some_and(named)
    }
}

/// One process that is to be held.
#[derive(Clone, Debug, Default)]
pub struct ToHold {
    /// When it was started, ticks.
    pub start: u64,
    /// It is gated, and has a way past the gate: those that descend from it are others' business.
    pub gated: bool,
    /// What was found of it, with the gate.
    pub found: Vec<(usize, Finding)>,
}

impl ToHold {
    /// Why, for machines: the names of the causes.
    pub fn because(&self) -> Vec<String> {
        let causes: BTreeSet<String> =
            self.found.iter().map(|(_, finding)| finding.cause.clone()).collect();
        causes.into_iter().collect()
    }
}

/// What is known of them.
#[derive(Debug, Default)]
pub struct HoldList {
    wanted: Vec<Whom>,
    /// Who is to be held.
    pub todo: BTreeMap<i32, ToHold>,
    /// Who was, and when it was started.
    held: BTreeMap<i32, u64>,
    /// They stood from the drain on.
    stood: bool,
    /// The processes that there were when the command had ended and all still stood.
    there: Option<BTreeSet<i32>>,
    /// When they were let go, CLOCK_MONOTONIC ns.
    released_at: u64,
}

impl HoldList {
    /// By gate: who is asked for?
    pub fn new(wanted: Vec<Whom>) -> HoldList {
        HoldList { wanted, ..HoldList::default() }
    }

    /// Takes a finding that a hold may answer, and says no more of it; gives back any other.
    pub fn take(&mut self, at: usize, finding: Finding, gated: bool) -> Option<Finding> {
        let answers = finding.known().is_some_and(Cause::can_be_held);
        let (true, Some(pid)) = (self.is_wanted(at) && answers, finding.pid) else {
            return Some(finding);
        };
        if self.stood {
            return (!self.stood_still(pid)).then_some(finding);
        }
        let stat = match procfs::look_at(pid) {
            Look::Seen(stat) => stat,
            // It is no more.
            Look::Gone(_) => return None,
            // Whom we cannot see we cannot hold.
            Look::NotSeen(_) => return Some(finding),
        };
        let to_hold = self.todo.entry(pid).or_default();
        if to_hold.start != stat.start {
            *to_hold = ToHold { start: stat.start, gated, found: Vec::new() };
        }
        to_hold.gated &= gated;
        to_hold.found.push((at, finding));
        None
    }

    /// Is it asked for by this gate?
    pub fn is_wanted(&self, at: usize) -> bool {
        self.wanted.get(at).is_some_and(|whom| whom.any)
    }

    /// Gated processes that are named by their programs.
    pub fn named(&self, census: &Census, at: usize) -> Vec<Finding> {
        let Some(whom) = self.wanted.get(at).filter(|whom| !whom.programs.is_empty()) else {
            return Vec::new();
        };
        let named = census.alive(at).filter(|member| whom.names(member.pid));
        let finding = |member: &Member| {
            Finding::of(Cause::NamedToHold, member.pid, Some(member.stat.comm.clone()))
        };
        named.map(finding).collect()
    }

    /// These are held at rest.
    pub fn held(&mut self, pids: impl Iterator<Item = i32>) {
        self.held = pids.filter_map(|pid| Some((pid, procfs::stat(pid)?.start))).collect();
        self.stood = true;
    }

    /// Those that were to be held, are there, and are not held. `gated`: whom the gate holds now; who has
    /// become one of them needs no other hold.
    pub fn left_out(&self, gated: &BTreeSet<i32>) -> Vec<NotHeld> {
        let is_left_out = |(pid, one): &(&i32, &ToHold)| {
            !self.held.contains_key(pid)
                && (one.gated || !gated.contains(pid))
                && match procfs::look_at(**pid) {
                    Look::Seen(now) => now.start == one.start && !now.is_dead() && !now.exiting,
                    Look::Gone(_) => false,
                    Look::NotSeen(_) => true,
                }
        };
        let left_out = self.todo.iter().filter(is_left_out).map(|(pid, _)| *pid);
        let program = |pid| procfs::stat(pid).map(|stat| stat.comm).unwrap_or_default();
        left_out.map(|pid| NotHeld { pid, program: program(pid), why: Obstacle::LeftOut }).collect()
    }

    /// The command has ended, and they are about to be let go: who comes from now on was not there.
    pub fn about_to_release(&mut self) {
        self.there = procfs::pids().ok().map(BTreeSet::from_iter);
    }

    /// They were let go: when the first was.
    pub fn released(&mut self, at: u64) {
        self.released_at = at;
    }

    /// Did this process stand still for the snapshot, or was it not there?
    fn stood_still(&self, pid: i32) -> bool {
        let stat = match procfs::look_at(pid) {
            Look::Seen(stat) => stat,
            Look::Gone(_) => return self.held.contains_key(&pid),
            Look::NotSeen(_) => return false,
        };
        if self.held.get(&pid) == Some(&stat.start) {
            return true;
        }
        if self.released_at == 0 {
            return false;
        }
        // Ticks are long: who was made in that of the release may have been there before it.
        let came_since = self.there.as_ref().is_some_and(|there| !there.contains(&pid));
        came_since || stat.start > clock::ticks_of(self.released_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::sleeper::Sleeper;
    use crate::outcome::cause::Claim;

    fn list() -> HoldList {
        HoldList::new(vec![Whom { any: true, ..Whom::default() }, Whom::default()])
    }

    fn ungated(pid: i32) -> Finding {
        Finding::of(Cause::Ungated(Claim::Unit), pid, None)
    }

    #[test]
    fn who_stood_still_speaks_no_more_against_it_and_another_does() {
        let me = std::process::id() as i32;
        let mut list = list();
        assert!(list.take(1, ungated(me), false).is_some(), "not asked for by this gate");
        assert!(list.take(0, Finding::of(Cause::Changed, me, None), false).is_some());
        assert!(list.take(0, ungated(me), false).is_none());
        assert_eq!(list.todo[&me].because(), ["ungated"]);
        list.held([me].into_iter());
        assert!(list.take(0, ungated(me), false).is_none(), "it stood still");
        assert!(list.take(0, ungated(1), false).is_some(), "it did not");
    }

    #[test]
    fn a_child_that_was_there_before_the_release_and_not_held_speaks_against_it() {
        let child = Sleeper::new();
        let pid = child.pid();
        let mut list = list();
        list.held([std::process::id() as i32].into_iter());
        list.about_to_release();
        list.released(clock::now_ns());
        let left = list.take(0, ungated(pid), false);
        child.end();
        assert!(left.is_some());
    }

    #[test]
    fn who_was_to_be_held_and_is_not_is_left_out() {
        let child = Sleeper::new();
        let (me, pid) = (std::process::id() as i32, child.pid());
        let mut list = list();
        assert!(
            list.take(0, ungated(pid), false).is_none()
                && list.take(0, ungated(me), false).is_none()
        );
        list.held([me].into_iter());
        let left_out = |list: &HoldList, gated: &[i32]| {
            let left_out = list.left_out(&gated.iter().copied().collect());
            left_out.into_iter().map(|one| one.pid).collect::<Vec<_>>()
        };
        let found = (left_out(&list, &[]), left_out(&list, &[pid]));
        child.end();
        assert_eq!(found, (vec![pid], vec![]));
        assert_eq!(left_out(&list, &[]), [0; 0], "it is gone");
    }

    #[test]
    fn who_was_made_after_the_release_was_not_there() {
        let mut list = list();
        list.held(std::iter::empty());
        list.about_to_release();
        list.released(clock::now_ns());
        clock::sleep_ns(30_000_000);
        let late = Sleeper::new();
        assert!(list.take(0, ungated(late.pid()), false).is_none());
        let me = std::process::id() as i32;
        assert!(list.take(0, ungated(me), false).is_some(), "it was there before");
        late.end();
    }
}
