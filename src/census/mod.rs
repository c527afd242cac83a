//! The census: every gated process of every gate that is being frozen.
//!
//! Made before the barrier goes up; [`crate::census::rescan`] keeps it true afterwards. A
//! process is gated if it maps the gate's *present* control page; one that maps it
//! and shows no region of its own is in flight until it does.

pub mod blockers;
pub mod disregard;
pub mod dotlocks;
pub mod region;
pub mod rescan;

use crate::census::region::MappedRegion;
use crate::linux::helper::{Helper, Looked, RegionFound};
use crate::linux::library::LibraryLayout;
use crate::linux::procfs::{self, Stat};
use crate::linux::sys;
use gate::control::Rank;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};

/// One gated process.
#[derive(Debug)]
pub struct Member {
    /// Process id, as we number it.
    pub pid: i32,
    /// Its start time, image, parent and name.
    pub stat: Stat,
    /// Becomes readable when it is dead.
    pub pidfd: Option<OwnedFd>,
    /// Its region; none: not yet, or it may not be read.
    pub view: Option<MappedRegion>,
    /// Why there is no region, if the kernel said so.
    pub denied: Option<i32>,
    /// The region's nonce; 0: no region.
    pub nonce: u64,
    /// What the region says about where it came from.
    pub parent_nonce: u64,
    /// Index of its parent among the members of its gate.
    pub parent: Option<usize>,
    /// Forked, and no entry made since it was last looked at.
    pub fresh_fork: bool,
    /// It is dead, or has left the gate by exec.
    pub gone: bool,
    /// Of a user who is not waited for (`--users`): reported only.
    pub outsider: bool,
    /// About to become something else: in flight until looked up anew.
    pub unknown: bool,
    /// Slots whose word means nothing, with that very word.
    pub disregarded: Vec<(usize, u64)>,
    /// The process word for which the kernel says that the locks are gone.
    pub locks_gone: Option<u64>,
    /// The process word whose section counted as over in the last pass, by the
    /// profile's rule (for the list of blockers).
    pub settled: Option<u64>,
    /// Its count of calls that had waited as long as they may, when this drain began.
    pub overdue_before: u64,
}

impl Member {
    /// Has a call of it passed the barrier since the drain began, because it had
    /// waited as long as it may?
    pub fn was_overdue(&self) -> bool {
        self.overdue() > self.overdue_before
    }

    /// See [`gate::region::Header::overdue`].
    pub fn overdue(&self) -> u64 {
        let count =
            |view: &MappedRegion| view.header().overdue.load(std::sync::atomic::Ordering::Relaxed);
        self.view.as_ref().map_or(0, count)
    }

    /// Does its region show an open section that its death cuts?
    fn is_cut_by_death(&self) -> bool {
        let word = |view: &MappedRegion| {
            let word = view.header().process.load(std::sync::atomic::Ordering::Acquire);
            gate::word::ProcessWord(word)
        };
        let cut = |word: gate::word::ProcessWord| word.section_open() && !word.until_exit();
        self.view.as_ref().is_some_and(|view| cut(word(view)))
    }

    /// When is its program held?
    pub fn rank(&self) -> Rank {
        use std::sync::atomic::Ordering::Acquire;
        let flags = self.view.as_ref().map(|view| view.header().flags.load(Acquire));
        flags.map(gate::region::rank).unwrap_or_default()
    }

    /// Has it held a lock when it was last seen, and does the kernel still know one?
    fn execs_under_a_lock(&self) -> bool {
        use std::sync::atomic::Ordering::Acquire;
        let Some(view) = &self.view else { return false };
        let word = gate::word::ProcessWord(view.header().process.load(Acquire));
        if word.locks() == 0 {
            return false;
        }
        procfs::holds_a_write_lock(self.pid)
    }

    /// Has a word of this slot been found to mean nothing?
    pub fn disregards(&self, slot: usize, word: u64) -> bool {
        self.disregarded.contains(&(slot, word))
    }
}

/// What a process was when it was last looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessKind {
    /// Member of this gate, at this place.
    Member(usize, usize),
    /// Shares its parent's memory: may become something of its own any moment.
    Sharing,
    /// None of ours so far: between exec and our constructor, perhaps. Nothing that
    /// /proc/PID/stat shows changes when that has run.
    Undecided,
    /// None of ours, in this image.
    Other,
    /// A kernel thread: never anything else.
    Kernel,
    /// Dead, and nobody has waited for it: under this start time never anything else.
    Dead,
}

/// A process that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Start time.
    pub start: u64,
    /// Image.
    pub image: u64,
    /// What it was.
    pub kind: ProcessKind,
}

/// A process that ought to be gated and is not, and why.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Detached {
    /// Process.
    pub pid: i32,
    /// Its name.
    pub comm: String,
    /// Its parent.
    pub parent: i32,
    /// The layout of its library, if that is certainly not ours.
    pub other_layout: Option<LibraryLayout>,
    /// The gate that its environment names; told only with another layout.
    pub asks_for: Option<usize>,
    /// The gate of which it maps a control page that was replaced; none: it has
    /// the library and maps no page of ours, which may be another gate's business.
    pub old_page: Option<usize>,
}

/// All members of all gates.
#[derive(Default)]
pub struct Census {
    /// Members by gate. Places never change; the dead stay, for their children's
    /// ancestry.
    pub gates: Vec<Vec<Member>>,
    /// Everything that was looked at.
    pub seen: HashMap<i32, Seen>,
    /// Have the library loaded and hear no gate of ours.
    pub detached: HashMap<i32, Detached>,
    /// Could not be looked into because we may not.
    pub denied: HashSet<i32>,
    /// Newcomers by gate that the drain has not been told of yet.
    pub newcomers: Vec<u32>,
    /// Are gated by, or map a page of, another gate.
    pub elsewhere: HashSet<i32>,
    died: Vec<(usize, i32, String)>,
    /// Only processes of these users are waited for; none: of all.
    pub users: Option<HashSet<u32>>,
    /// Processes of our own.
    pub ours: HashSet<i32>,
}

impl Census {
    /// An empty census for so many gates.
    pub fn new(gates: usize) -> Census {
        Census {
            gates: (0..gates).map(|_| Vec::new()).collect(),
            newcomers: vec![0; gates],
            ours: HashSet::from([std::process::id() as i32]),
            ..Census::default()
        }
    }

    /// Members of a gate that are still there.
    pub fn alive(&self, gate: usize) -> impl Iterator<Item = &Member> {
        self.gates[gate].iter().filter(|m| !m.gone && !m.outsider)
    }

    /// Members of a gate that are not waited for.
    pub fn outsider(&self, gate: usize) -> impl Iterator<Item = &Member> {
        self.gates[gate].iter().filter(|m| !m.gone && m.outsider)
    }

    /// Anyone may map a control page and never be idle: who is not of the users
    /// that were named is reported, never waited for.
    fn is_outsider(&self, pid: i32) -> bool {
        let Some(users) = &self.users else { return false };
        crate::linux::procfs::uid(pid).is_none_or(|uid| uid != 0 && !users.contains(&uid))
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
            let handle = sys::pidfd_open(pid).ok();
            let Some(stat) = procfs::stat(pid) else { continue };
            let (start, image) = (stat.start, stat.image);
            if stat.kernel {
                self.seen.insert(pid, Seen { start, image, kind: ProcessKind::Kernel });
            } else if stat.state != 'Z' && stat.state != 'X' {
                before.insert(pid, (stat, handle));
            } else if self.seen.get(&pid).is_none_or(|seen| seen.start != start) {
                // Where nobody waits for orphans there are hundreds.
                self.seen.insert(pid, Seen { start, image, kind: ProcessKind::Dead });
            }
        }
        let asked: Vec<i32> = before.keys().copied().collect();
        for (looked, fd) in helper.look(&asked) {
            let Some((stat, handle)) = before.remove(&looked.pid) else { continue };
            if procfs::stat(looked.pid).is_none_or(|now| now.start != stat.start) {
                continue;
            }
            self.take_in(looked, fd, stat, handle);
        }
        self.link_parents();
    }

    fn take_in(
        &mut self,
        looked: Looked,
        fd: Option<OwnedFd>,
        stat: Stat,
        handle: Option<OwnedFd>,
    ) {
        let pid = looked.pid;
        let (start, image) = (stat.start, stat.image);
        self.denied.remove(&pid);
        self.detached.remove(&pid);
        self.elsewhere.remove(&pid);
        if looked.any_page && looked.page.is_none() && looked.other_page.is_none() {
            self.elsewhere.insert(pid);
        }
        if looked.error.is_some_and(|e| e == libc::EACCES || e == libc::EPERM) {
            self.denied.insert(pid);
        }
        let old = match self.seen.get(&pid) {
            Some(&Seen { kind: ProcessKind::Member(gate, at), start: then, .. })
                if then == start =>
            {
                Some((gate, at))
            }
            _ => None,
        };
        let Some(gate) = looked.page else {
            if looked.other_page.is_some() || looked.library {
                let detached = Detached {
                    pid,
                    comm: stat.comm,
                    parent: stat.ppid,
                    other_layout: looked.layout.filter(|layout| layout.is_other()),
                    asks_for: looked.asks_for,
                    old_page: looked.other_page,
                };
                self.detached.insert(pid, detached);
            }
            if let Some((gate, at)) = old
                && self.gates[gate][at].execs_under_a_lock()
            {
                // Between exec and our constructor it maps nothing of ours, and holds
                // its lock: its set is half-done until it shows.
                self.gates[gate][at].unknown = true;
                let kind = ProcessKind::Member(gate, at);
                self.seen.insert(pid, Seen { start, image, kind });
                return;
            }
            if let Some((gate, at)) = old {
                self.gates[gate][at].gone = true;
                self.newcomers[gate] += 1;
            }
            let kind = if looked.decided { ProcessKind::Other } else { ProcessKind::Undecided };
            self.seen.insert(pid, Seen { start, image, kind });
            return;
        };
        if looked.region == RegionFound::Shared {
            self.seen.insert(pid, Seen { start, image, kind: ProcessKind::Sharing });
            return;
        }
        let copied = looked.region == RegionFound::Copied;
        let view = fd.and_then(|fd| MappedRegion::new(&fd, copied).ok());
        let nonce = view.as_ref().map_or(0, MappedRegion::nonce);
        let told_parent = |view: &MappedRegion| {
            view.header().parent_nonce.load(std::sync::atomic::Ordering::Relaxed)
        };
        let denied = match looked.region {
            RegionFound::Denied(error) => Some(error),
            _ => None,
        };
        let mut member = Member {
            pid,
            stat,
            pidfd: handle,
            nonce,
            parent_nonce: view.as_ref().map_or(0, told_parent),
            view,
            denied,
            parent: None,
            fresh_fork: looked.region == RegionFound::Unborn,
            gone: false,
            outsider: self.is_outsider(pid),
            unknown: false,
            disregarded: Vec::new(),
            locks_gone: None,
            settled: None,
            overdue_before: 0,
        };
        let place = match old {
            // After an exec the region does not say any more whose child it is.
            Some((was, at)) if was == gate => {
                let old = &mut self.gates[gate][at];
                if member.parent_nonce == 0 {
                    member.parent_nonce = old.parent_nonce;
                }
                // Same region, same word: still on its way into exec.
                if old.nonce == member.nonce && old.unknown {
                    member.unknown = exec_announced(&member);
                }
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
        };
        self.seen.insert(pid, Seen { start, image, kind: ProcessKind::Member(gate, place) });
    }

    /// Finds everybody's parent: by what the region says, else by the kernel.
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

    /// Who died inside a section while we looked.
    pub fn died_in_section(&self, gate: usize) -> Vec<(i32, String)> {
        let of_gate = self.died.iter().filter(|(at, ..)| *at == gate);
        of_gate.map(|(_, pid, program)| (*pid, program.clone())).collect()
    }

    /// Notes who has died. True if somebody has.
    pub fn remove_dead(&mut self) -> bool {
        let mut some = false;
        for (gate, members) in self.gates.iter_mut().enumerate() {
            let watched: Vec<(usize, i32)> = members
                .iter()
                .enumerate()
                .filter(|(_, m)| !m.gone)
                .filter_map(|(at, m)| m.pidfd.as_ref().map(|fd| (at, fd.as_raw_fd())))
                .collect();
            let fds: Vec<i32> = watched.iter().map(|(_, fd)| *fd).collect();
            for ((at, _), dead) in watched.iter().zip(sys::readable(&fds)) {
                some |= dead;
                if dead {
                    let member = &mut members[*at];
                    member.gone = true;
                    if member.is_cut_by_death() {
                        self.died.push((gate, member.pid, member.stat.comm.clone()));
                    }
                }
            }
            // Without handles (old kernels): pid and start time.
            for m in members.iter_mut().filter(|m| !m.gone && m.pidfd.is_none()) {
                m.gone = procfs::stat(m.pid)
                    .is_none_or(|s| s.start != m.stat.start || matches!(s.state, 'Z' | 'X'));
                some |= m.gone;
            }
        }
        some
    }
}

/// Does a thread of this region say that it is about to exec?
pub fn exec_announced(member: &Member) -> bool {
    use gate::calls::{Rule, TABLE};
    use gate::word::ThreadWord;
    let Some(view) = &member.view else { return false };
    view.slots().iter().any(|slot| {
        let word = ThreadWord(slot.word.load(std::sync::atomic::Ordering::Acquire));
        let rule = TABLE.get(word.call() as usize).and_then(|info| info.rule);
        crate::census::disregard::calling(word) && matches!(rule, Some(Rule::Exec | Rule::ExecList))
    })
}
