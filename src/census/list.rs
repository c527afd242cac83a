//! All members of all gates, and everything else that was looked at.

use crate::census::belonging::{Service, ThisMachine};
use crate::census::kinds::{Detached, ProcessKind, Seen};
use crate::census::member::Member;
use crate::census::region::MappedRegion;
use crate::foreign_text::ForeignText;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::{Asked, Before, Looked, Mappings, RegionFound};
use crate::linux::look::{Look, WhyNot};
use crate::linux::marks::{Hidden, Marks};
use crate::linux::poll::is_quiet;
use crate::linux::process::pidfd_open;
use crate::linux::procfs::{self, Stat};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// All members of all gates.
#[derive(Default)]
pub struct Census {
    /// Members by gate. Places never change; the dead stay, for their children's
    /// ancestry.
    pub gates: Vec<Vec<Member>>,
    /// Everything that was looked at.
    pub seen: HashMap<i32, Seen>,
    /// Have the library loaded and map no present page of ours.
    pub detached: HashMap<i32, Detached>,
    /// Could not be looked at, and are not proved to be gone: why.
    pub unseen: BTreeMap<i32, WhyNot>,
    /// The last list of all processes could not be had, or not whole: why.
    pub unlisted: Option<WhyNot>,
    /// Newcomers by gate that the drain has not been told of yet.
    pub newcomers: Vec<u32>,
    /// Are gated by, or map a page of, another gate.
    pub elsewhere: HashSet<i32>,
    /// Those that died inside a section: gate, process, program.
    pub(super) died: Vec<(usize, i32, ForeignText)>,
    /// What belongs to the service of each gate.
    pub services: Vec<Service>,
    /// The same of all other gates together.
    others: Service,
    /// Map a gate's page and do not belong to its service: gate and program.
    pub outside: BTreeMap<i32, (usize, ForeignText)>,
    /// Of those, found no memory for a region when they were forked.
    pub outside_without_memory: HashSet<i32>,
    /// By gate: who may map its page and cannot be seen from here.
    pub hidden: Vec<Option<Hidden>>,
    /// What the last list saw each of those that were looked at change by a store alone; until it is
    /// asked for ([`Census::take_mappings`]), or the next list.
    mappings: HashMap<i32, Mappings>,
    /// By gate: from where its page is mapped.
    pub(super) marks: Vec<Arc<Marks>>,
    /// Processes of our own.
    pub ours: HashSet<i32>,
    /// The highest number of a process that was given out since the first list, ...
    pub(super) newest: Option<u64>,
    /// ... and whether they have begun anew since: a number may stand for another process than it did.
    pub(super) numbers_again: bool,
}

impl Census {
    /// An empty census for these services, whose pages are mapped from here and there.
    pub fn new(services: Vec<Service>, marks: Vec<Arc<Marks>>) -> Census {
        let gates = services.len();
        Census {
            hidden: vec![None; gates],
            marks,
            gates: (0..gates).map(|_| Vec::new()).collect(),
            newcomers: vec![0; gates],
            ours: HashSet::from([std::process::id() as i32]),
            services,
            // Root's, and those of who freezes: what others map is their own word.
            others: Service::new([nix::unistd::geteuid().as_raw()], None, ""),
            ..Census::default()
        }
    }

    /// Members of a gate that are still there.
    pub fn alive(&self, gate: usize) -> impl Iterator<Item = &Member> {
        self.gates[gate].iter().filter(|m| !m.gone)
    }

    /// Is the process that was seen under this number still there?
    pub fn is_still(&self, pid: i32) -> bool {
        match (self.seen.get(&pid), procfs::look_at(pid)) {
            (_, Look::Gone(_)) => false,
            (Some(seen), Look::Seen(now)) => seen.start == now.start,
            _ => true,
        }
    }

    /// Would this process, gated or not, belong to the service of a gate? Also one that lives and of
    /// which it cannot be told whose it is.
    pub fn belongs(&self, gate: usize, pid: i32) -> bool {
        let machine = ThisMachine::new(|| all_with_gate(&self.seen, gate, &[]));
        self.services[gate].claims(pid, &machine).is_some()
            || procfs::origin(pid).is_none() && !procfs::is_exiting(pid)
    }

    /// Which of those that were looked at, and map a page, do not belong to its service.
    fn outsiders(&mut self, looked: &[(Looked, Option<OwnedFd>)]) -> HashSet<i32> {
        let mut outsiders = HashSet::new();
        for gate in 0..self.services.len() {
            let mapping = looked.iter().filter(|(looked, _)| looked.page == Some(gate));
            let pids: Vec<i32> = mapping.map(|(looked, _)| looked.pid).collect();
            if pids.is_empty() {
                continue;
            }
            let machine = ThisMachine::new(|| all_with_gate(&self.seen, gate, &pids));
            let reasons = self.services[gate].admit(&pids, &machine);
            outsiders.extend(reasons.iter().filter(|(_, why)| why.is_none()).map(|(pid, _)| *pid));
        }
        let elsewhere: Vec<i32> = looked
            .iter()
            .filter(|(looked, _)| looked.elsewhere && looked.page.is_none())
            .map(|(looked, _)| looked.pid)
            .collect();
        if !elsewhere.is_empty() {
            let machine = ThisMachine::new(|| all_with_gate(&self.seen, usize::MAX, &elsewhere));
            let reasons = self.others.admit(&elsewhere, &machine);
            outsiders.extend(reasons.iter().filter(|(_, why)| why.is_none()).map(|(pid, _)| *pid));
        }
        outsiders
    }

    /// Looks at these processes and takes them in.
    pub fn look(&mut self, helper: &mut Helper, pids: &[i32]) {
        let mut before: HashMap<i32, (Stat, Option<OwnedFd>)> = HashMap::new();
        let helper_pid = helper.pid();
        for &pid in pids {
            if self.ours.contains(&pid) || pid == helper_pid {
                continue;
            }
            // The handle and the image first, the look after: what happens in
            // between shows as a change later, never as something missed.
            let handle = pidfd_open(pid).ok();
            let stat = match procfs::look_at(pid) {
                Look::Seen(stat) => stat,
                Look::Gone(_) => {
                    self.forget(pid);
                    continue;
                }
                Look::NotSeen(why) => {
                    self.unseen.insert(pid, why);
                    continue;
                }
            };
            let seen =
                |kind| Seen { start: stat.start, image: stat.image, parent: stat.ppid, kind };
            if stat.kernel {
                self.seen.insert(pid, seen(ProcessKind::Kernel));
            } else if !stat.is_dead() {
                before.insert(pid, (stat, handle));
                continue;
            }
            self.forget(pid);
            let is_new = self.seen.get(&pid).is_none_or(|known| known.start != stat.start);
            if stat.is_dead() && is_new {
                // Where orphans are not reaped there are hundreds.
                self.seen.insert(pid, seen(ProcessKind::Dead));
            }
        }
        let told = |pid: i32, stat: &Stat| {
            let before = Before { image: stat.image, in_place: stat.in_place };
            Asked { pid, before: (stat.by == pid).then_some(before) }
        };
        let asked = before.iter().map(|(pid, (stat, _))| told(*pid, stat)).collect();
        let looked = helper.look_at(asked);
        let outsiders = self.outsiders(&looked);
        for (looked, fd) in looked {
            let Some((stat, handle)) = before.remove(&looked.pid) else { continue };
            let outsider = outsiders.contains(&looked.pid);
            // It was opened before all else: while it lives, all that was seen was of one process.
            if handle.as_ref().is_some_and(|handle| is_quiet(handle.as_fd())) {
                self.take_in(looked, fd, stat, handle, outsider);
                continue;
            }
            match procfs::look_at(looked.pid) {
                Look::Seen(now) if now.start == stat.start => {
                    self.take_in(looked, fd, stat, handle, outsider);
                }
                // Another process has its number now: the next list shows it.
                Look::Seen(_) | Look::Gone(_) => self.forget(looked.pid),
                Look::NotSeen(why) => drop(self.unseen.insert(looked.pid, why)),
            }
        }
        self.link_parents();
    }

    /// What those that were just looked at can change by a store alone: told once, for it is true of that
    /// moment.
    pub fn take_mappings(&mut self) -> HashMap<i32, Mappings> {
        std::mem::take(&mut self.mappings)
    }

    /// What was found of it is true no more: it is gone, or looked at anew. (Its number as a member
    /// stays: [`Census::remove_dead`] says how it died.)
    fn forget(&mut self, pid: i32) {
        self.unseen.remove(&pid);
        self.detached.remove(&pid);
        self.elsewhere.remove(&pid);
        self.outside.remove(&pid);
        self.outside_without_memory.remove(&pid);
        self.mappings.remove(&pid);
    }

    fn take_in(
        &mut self,
        looked: Looked,
        fd: Option<OwnedFd>,
        stat: Stat,
        handle: Option<OwnedFd>,
        outsider: bool,
    ) {
        let pid = looked.pid;
        self.forget(pid);
        self.mappings.extend(looked.mappings.clone().map(|mappings| (pid, mappings)));
        if looked.elsewhere && looked.page.is_none() && !outsider {
            self.elsewhere.insert(pid);
        }
        // One whose threads have all begun to exit loses its memory first, and makes no call again.
        if let Some(why) = looked.unseen
            && !(why == WhyNot::Errno(libc::ESRCH) && procfs::is_exiting(pid))
        {
            self.unseen.insert(pid, why);
        }
        let old = match self.seen.get(&pid) {
            Some(&Seen { kind: ProcessKind::Member(gate, at), start, .. })
                if start == stat.start =>
            {
                Some((gate, at))
            }
            _ => None,
        };
        let (start, image, parent) = (stat.start, stat.image, stat.ppid);
        let kind = match looked.page {
            None => self.take_in_ungated(&looked, stat, old),
            // Nothing of its memory is looked at.
            Some(gate) if outsider => {
                self.leave(old);
                if looked.region == RegionFound::None && looked.found_no_memory {
                    self.outside_without_memory.insert(pid);
                }
                self.outside.insert(pid, (gate, stat.comm));
                ProcessKind::Outsider(gate)
            }
            Some(_) if looked.region == RegionFound::Shared => ProcessKind::Sharing,
            Some(gate) => {
                let member = Census::new_member(&looked, fd, stat, handle);
                ProcessKind::Member(gate, self.place(member, gate, old))
            }
        };
        self.seen.insert(pid, Seen { start, image, parent, kind });
    }

    /// It maps no page of ours. `old`: the member that it was.
    fn take_in_ungated(
        &mut self,
        looked: &Looked,
        stat: Stat,
        old: Option<(usize, usize)>,
    ) -> ProcessKind {
        let pid = looked.pid;
        if looked.other_page.is_some() || looked.library {
            // Its name is all that is known of that page.
            let old_page = looked.other_page.filter(|gate| self.belongs(*gate, pid));
            let detached = Detached {
                pid,
                comm: stat.comm,
                parent: stat.ppid,
                other_layout: looked.layout.filter(|layout| layout.is_other()),
                asks_for: looked.asks_for,
                old_page,
                hears_another: looked.elsewhere,
            };
            self.detached.insert(pid, detached);
        }
        if let Some((gate, at)) = old {
            let member = &mut self.gates[gate][at];
            // One that could not be looked at is what it was, as far as anybody knows.
            if looked.unseen.is_some() || member.execs_under_a_lock() {
                // Between exec and our constructor it maps nothing of ours, and holds
                // its lock: its set is half-done until it shows.
                member.unknown = true;
                return ProcessKind::Member(gate, at);
            }
            self.leave(old);
            self.newcomers[gate] += 1;
        }
        match looked {
            Looked { decided: true, .. } => ProcessKind::Other,
            Looked { is_static: true, .. } => ProcessKind::Static,
            _ => ProcessKind::Undecided,
        }
    }

    /// It is no member any more.
    fn leave(&mut self, old: Option<(usize, usize)>) {
        if let Some((gate, at)) = old {
            self.gates[gate][at].gone = true;
        }
    }

    fn new_member(
        looked: &Looked,
        fd: Option<OwnedFd>,
        stat: Stat,
        pidfd: Option<OwnedFd>,
    ) -> Member {
        let copied = looked.region == RegionFound::Copied;
        let view = fd.and_then(|fd| MappedRegion::new(&fd, copied).ok());
        Member {
            pidfd,
            nonce: view.as_ref().map_or(0, MappedRegion::nonce),
            parent_nonce: view.as_ref().map_or(0, MappedRegion::parent_nonce),
            forkers_list: looked.named,
            view,
            denied: match looked.region {
                RegionFound::Denied(error) => Some(error),
                _ => None,
            },
            fresh_fork: looked.region == RegionFound::Inherited,
            found_no_memory: looked.region == RegionFound::None && looked.found_no_memory,
            ..Member::new(looked.pid, stat)
        }
    }

    /// Puts a member where it was, or behind the others; its place.
    fn place(&mut self, mut member: Member, gate: usize, old: Option<(usize, usize)>) -> usize {
        match old {
            // After an exec the region does not say any more whose child it is.
            Some((was, at)) if was == gate => {
                let old = &mut self.gates[gate][at];
                if member.parent_nonce == 0 {
                    member.parent_nonce = old.parent_nonce;
                }
                // Same region, same word: still on its way into exec.
                if old.nonce == member.nonce && old.unknown {
                    member.unknown = member.announces_exec();
                }
                member.unaccounted_lock = old.unaccounted_lock.take();
                // A child that had done nothing is a newcomer once it has.
                // One with another region shows other numbers than the passes saw:
                // they count for nothing, and are made again.
                if old.fresh_fork && !member.fresh_fork || old.nonce != member.nonce {
                    self.newcomers[gate] += 1;
                }
                *old = member;
                at
            }
            _ => {
                if let Some((was, at)) = old {
                    self.gates[was][at].gone = true;
                }
                self.newcomers[gate] += 1;
                self.gates[gate].push(member);
                self.gates[gate].len() - 1
            }
        }
    }

    /// Finds the parent of each: by what the region says, else by the kernel.
    fn link_parents(&mut self) {
        for members in &mut self.gates {
            let by_nonce: HashMap<u64, usize> =
                members.iter().enumerate().map(|(at, m)| (m.nonce, at)).collect();
            let by_pid: HashMap<i32, usize> = members
                .iter()
                .enumerate()
                .filter(|(_, m)| !m.gone)
                .map(|(at, m)| (m.pid, at))
                .collect();
            for (at, member) in members.iter_mut().enumerate() {
                let parent = member.parent_nonce;
                let told = (parent != 0).then(|| by_nonce.get(&parent)).flatten();
                let parent = told.or_else(|| by_pid.get(&member.stat.ppid)).copied();
                member.parent = parent.filter(|parent| *parent != at);
            }
        }
    }
}

/// All processes, and whether they map the page of this gate, as these new ones do.
fn all_with_gate(seen: &HashMap<i32, Seen>, gate: usize, new: &[i32]) -> Vec<(i32, bool)> {
    let gated = |seen: &Seen| match seen.kind {
        ProcessKind::Member(of, _) | ProcessKind::Outsider(of) => of == gate,
        _ => false,
    };
    let known = seen.iter().map(|(pid, seen)| (*pid, gated(seen)));
    known.chain(new.iter().map(|pid| (*pid, true))).collect()
}
