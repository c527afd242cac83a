//! Which processes belong to the service of a gate: the one definition, for freeze, status,
//! doctor and evidence alike. Why it is this one: docs/protocol.md, *What belongs to a service*.
//!
//! Any user may start a program behind a gate: its page can be read by all. So to map it proves
//! nothing. What a user without rights cannot bring about is asked instead, in this order:
//!
//! | reason | the process |
//! |---|---|
//! | [`Reason::Named`] | is root's, the gate's owner's, or of one of `--users`; where these are given, nothing else counts |
//! | [`Reason::Root`] | has a user id of root's or of the gate's owner's |
//! | [`Reason::SetId`] | runs a program that root has marked set-id, with that id |
//! | [`Reason::Lineage`] | has an ancestor that belongs, in the same unit, and no login lies between |
//! | [`Reason::Unit`] | runs in a unit of the service; one of an ordinary user also needs a program of it |
//! | [`Reason::Account`] | runs under a system account, and in no unit that is another service's |
//!
//! An ordinary user's process in the lineage or the unit must also run one of the profile's
//! programs (`program`), where it names any.
//!
//! When in doubt it belongs and is waited for: a set that is cut in two is worse than a drain
//! that takes too long.

use crate::linux::procfs::{self, Origin};
use crate::linux::user_namespaces::IdMap;
use gate::profile::{self, Key};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// System accounts lie below this id, in every distribution's login.defs ...
const FIRST_ORDINARY_USER: u32 = 1000;
/// ... and systemd takes the ids of `DynamicUser=` from here.
const DYNAMIC_USERS: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// So many ancestors are asked for.
const GENERATIONS: usize = 64;

/// Where the facts come from: `/proc`, or a test.
pub trait Facts {
    /// Where a process comes from; none: it is gone, or may not be seen.
    fn origin(&self, pid: i32) -> Option<Origin>;
    /// The program that it runs.
    fn program(&self, pid: i32) -> Option<PathBuf>;
    /// All processes, and whether they map the gate's page.
    fn all(&self) -> Vec<(i32, bool)>;
}

/// The facts of this machine, as one judgement asks for them: each process once.
pub struct ThisMachine<All> {
    all: All,
    origins: RefCell<HashMap<i32, Option<Origin>>>,
}

impl<All: Fn() -> Vec<(i32, bool)>> ThisMachine<All> {
    /// `all`: its processes, and whether they map the page.
    pub fn new(all: All) -> ThisMachine<All> {
        ThisMachine { all, origins: RefCell::default() }
    }
}

impl<All: Fn() -> Vec<(i32, bool)>> Facts for ThisMachine<All> {
    fn origin(&self, pid: i32) -> Option<Origin> {
        let mut origins = self.origins.borrow_mut();
        origins.entry(pid).or_insert_with(|| procfs::origin(pid)).clone()
    }

    fn program(&self, pid: i32) -> Option<PathBuf> {
        procfs::exe(pid)
    }

    fn all(&self) -> Vec<(i32, bool)> {
        (self.all)()
    }
}

/// Why a process belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Reason {
    /// `--users` says so.
    Named,
    /// It is root's or the gate's owner's.
    Root,
    /// It runs a set-id program of root's.
    SetId,
    /// It descends from one that belongs.
    Lineage,
    /// It runs in the service's unit.
    Unit,
    /// It runs under a system account.
    Account,
}

/// What is known of the service of one gate.
#[derive(Debug, Default)]
pub struct Service {
    /// Root, the gate's owner, and who freezes.
    owners: HashSet<u32>,
    /// Who is who in the user namespace of the container that it runs in.
    ids: IdMap,
    /// What `--users` names.
    named: Option<HashSet<u32>>,
    /// Processes that belong.
    members: HashMap<i32, (Origin, Reason)>,
    /// Units that were asked about.
    units: RefCell<HashMap<String, UnitIs>>,
    /// The profile's text: which programs are meant.
    profile: String,
    /// Programs of members that no ordinary user controls.
    programs: RefCell<HashSet<PathBuf>>,
}

/// Whose a unit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum UnitIs {
    /// The service's.
    Ours,
    /// Another service's: root runs something there that is not gated, and nothing that is.
    Foreign,
    /// Nothing speaks for either.
    Unclear,
}

impl Service {
    /// The service of a gate that `owners` (and root) have made or freeze. `named`: see `--users`.
    pub fn new(
        owners: impl IntoIterator<Item = u32>,
        named: Option<&HashSet<u32>>,
        profile: &str,
    ) -> Service {
        let owners = owners.into_iter().chain([0]).collect();
        Service { owners, named: named.cloned(), profile: profile.into(), ..Service::default() }
    }

    /// It runs in a user namespace, whose root is a gate's owner.
    pub fn in_namespace(self, ids: &IdMap) -> Service {
        Service { ids: ids.clone(), ..self }
    }

    /// Can an ordinary user have started it, or do with it what it likes? A system account is
    /// one by its number in the service's own namespace.
    fn is_ordinary(&self, origin: &Origin) -> bool {
        let account = |user: &u32| {
            let user = self.ids.inside(*user).unwrap_or(*user);
            user < FIRST_ORDINARY_USER || DYNAMIC_USERS.contains(&user)
        };
        !origin.users.iter().all(account)
    }

    /// Which of these processes, all of which map the page, belong, and why. They are
    /// remembered: a child that is asked about later has its lineage from them.
    pub fn admit(&mut self, pids: &[i32], facts: &dyn Facts) -> HashMap<i32, Option<Reason>> {
        let mut open: Vec<(i32, Origin)> = Vec::new();
        let mut found = HashMap::new();
        for &pid in pids {
            match facts.origin(pid) {
                // What belonged once does so for good: its parent may be gone by now.
                Some(origin) => match self.members.get(&pid) {
                    Some((known, reason)) if known.start == origin.start => {
                        found.insert(pid, Some(*reason));
                    }
                    _ => open.push((pid, origin)),
                },
                // Gone, or not to be seen: what could not be looked at is waited for.
                None => drop(found.insert(pid, Some(Reason::Account))),
            }
        }
        // Parents before their children.
        open.sort_by_key(|(pid, origin)| (origin.start, *pid));
        let mut before = usize::MAX;
        while !open.is_empty() && open.len() < before {
            before = open.len();
            for by_descent in [true, false] {
                let mut left = Vec::new();
                for (pid, origin) in open {
                    let reason = if by_descent {
                        self.by_itself(&origin).or_else(|| self.by_lineage(pid, &origin, facts))
                    } else {
                        self.by_place(pid, &origin, facts)
                    };
                    match reason {
                        Some(reason) => {
                            found.insert(pid, Some(reason));
                            self.remember(pid, origin, reason, facts);
                        }
                        None => left.push((pid, origin)),
                    }
                }
                open = left;
            }
        }
        for (pid, _) in open {
            self.members.remove(&pid);
            found.insert(pid, None);
        }
        found
    }

    /// Would this process, which need not map the page, belong?
    pub fn claims(&self, pid: i32, facts: &dyn Facts) -> Option<Reason> {
        let origin = facts.origin(pid)?;
        self.by_itself(&origin)
            .or_else(|| self.by_lineage(pid, &origin, facts))
            .or_else(|| self.by_place(pid, &origin, facts))
    }

    /// Does `--users` say what belongs?
    pub fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// Does an ordinary user control what it does?
    pub fn is_trusted(&self, pid: i32) -> bool {
        let of = |(origin, reason): &(Origin, Reason)| match reason {
            Reason::Root | Reason::SetId => true,
            _ => !self.is_ordinary(origin),
        };
        self.members.get(&pid).is_some_and(of)
    }

    /// The users that its processes had when they were admitted; of the dead too.
    pub fn users(&self) -> impl Iterator<Item = u32> {
        self.members.values().flat_map(|(origin, _)| origin.users)
    }

    fn remember(&mut self, pid: i32, origin: Origin, reason: Reason, facts: &dyn Facts) {
        if reason == Reason::Root || reason == Reason::Lineage && !self.is_ordinary(&origin) {
            self.programs.borrow_mut().extend(facts.program(pid));
        }
        if reason == Reason::Root
            && let Some(unit) = unit_of(&origin.cgroup)
        {
            self.units.borrow_mut().insert(unit.into(), UnitIs::Ours);
        }
        self.members.insert(pid, (origin, reason));
    }

    fn by_itself(&self, origin: &Origin) -> Option<Reason> {
        let owned = origin.users.iter().any(|user| self.owners.contains(user));
        if let Some(named) = &self.named {
            return (owned || named.contains(&origin.users[1])).then_some(Reason::Named);
        }
        let by_root = |owner: u32| owner == 0 || Some(owner) == self.ids.root();
        match (owned, origin.set_id.is_some_and(by_root)) {
            (true, _) => Some(Reason::Root),
            (_, true) => Some(Reason::SetId),
            _ => None,
        }
    }

    fn by_lineage(&self, pid: i32, origin: &Origin, facts: &dyn Facts) -> Option<Reason> {
        if self.named.is_some() {
            return None;
        }
        let mut parent = origin.parent;
        for _ in 0..GENERATIONS {
            if parent <= 1 {
                return None;
            }
            let above = facts.origin(parent)?;
            if let Some((known, _)) = self.members.get(&parent)
                && known.start == above.start
            {
                let same_login = above.login == origin.login;
                let same_unit = origin.cgroup.starts_with(base_of(&above.cgroup));
                let meant = same_login && same_unit && self.is_meant(pid, origin, facts);
                return meant.then_some(Reason::Lineage);
            }
            parent = above.parent;
        }
        None
    }

    fn by_place(&self, pid: i32, origin: &Origin, facts: &dyn Facts) -> Option<Reason> {
        if self.named.is_some() {
            return None;
        }
        let unit = unit_of(&origin.cgroup);
        let whose = unit.map_or(UnitIs::Unclear, |unit| self.whose(unit, facts));
        if !self.is_ordinary(origin) {
            let known = |(member, reason): &(Origin, Reason)| {
                *reason != Reason::Account && member.users[1] == origin.users[1]
            };
            return match whose {
                UnitIs::Ours => Some(Reason::Unit),
                // A cron job of the service's own account.
                UnitIs::Foreign if !self.members.values().any(known) => None,
                _ => Some(Reason::Account),
            };
        }
        // Commands of users run in the service's unit too; they run other programs.
        let own_program =
            || facts.program(pid).is_some_and(|program| self.programs.borrow().contains(&program));
        let meant = || own_program() && self.is_meant(pid, origin, facts);
        (whose == UnitIs::Ours && meant()).then_some(Reason::Unit)
    }

    /// Does it run one of the profile's programs? Only what an ordinary user may have started is
    /// asked: elsewhere a path that shows differently (a chroot, a container) would do harm.
    fn is_meant(&self, pid: i32, origin: &Origin, facts: &dyn Facts) -> bool {
        let named = || profile::values(&self.profile, Key::Program);
        let runs = |pattern: &str| {
            let program = facts.program(pid).unwrap_or_default();
            profile::glob(pattern.as_bytes(), program.as_os_str().as_bytes())
        };
        !self.is_ordinary(origin) || named().next().is_none() || named().any(runs)
    }

    /// Whose is a unit? Root's processes there tell; where there are none, the oldest does:
    /// the unit was started with it.
    fn whose(&self, unit: &str, facts: &dyn Facts) -> UnitIs {
        if let Some(known) = self.units.borrow().get(unit) {
            return *known;
        }
        let (mut oldest, mut roots) = (None, false);
        for (pid, gated) in facts.all() {
            let Some(origin) = facts.origin(pid) else { continue };
            if unit_of(&origin.cgroup) != Some(unit) {
                continue;
            }
            let root = origin.users.contains(&0);
            if root && gated {
                self.units.borrow_mut().insert(unit.into(), UnitIs::Ours);
                return UnitIs::Ours;
            }
            roots |= root;
            if oldest.as_ref().is_none_or(|(start, _)| origin.start < *start) {
                let program = gated.then(|| facts.program(pid)).flatten();
                oldest = Some((origin.start, gated.then_some(program)));
            }
        }
        let is = match oldest {
            _ if roots => UnitIs::Foreign,
            Some((_, Some(program))) => {
                self.programs.borrow_mut().extend(program);
                UnitIs::Ours
            }
            _ => UnitIs::Unclear,
        };
        self.units.borrow_mut().insert(unit.into(), is);
        is
    }
}

/// The part of a control group's path that names a unit or a container, as root's manager of
/// services made it; none in a login session, a user's own services, or none at all.
pub fn unit_of(cgroup: &str) -> Option<&str> {
    if cgroup.split('/').any(|part| part == "user.slice" || part.starts_with("session-")) {
        return None;
    }
    let base = base_of(cgroup);
    (base.ends_with(".service") || base.ends_with(".scope")).then_some(base)
}

/// The same part of any path, or all of it.
fn base_of(cgroup: &str) -> &str {
    let mut end = None;
    let mut at = 0;
    for part in cgroup.split_inclusive('/') {
        at += part.len();
        let name = part.trim_end_matches('/');
        if name.ends_with(".service") || name.ends_with(".scope") {
            end = Some(at - (part.len() - name.len()));
        }
    }
    &cgroup[..end.unwrap_or(cgroup.len())]
}

#[cfg(test)]
#[path = "belonging_tests.rs"]
mod tests;
