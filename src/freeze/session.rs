//! Opens what a freeze needs, in the order in which it may be needed.

use crate::census::belonging::Service;
use crate::census::list::Census;
use crate::census::member::Member;
use crate::drive::session::Session;
use crate::drive::{barrier, cooldown};
use crate::evidence::coverage;
use crate::gatedir::Gate;
use crate::gatedir::{self, in_force};
use crate::hold;
use crate::linux::clock;
use crate::linux::helper::own_page;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::PageId;
use crate::linux::membarrier::Membarrier;
use crate::linux::namespaces;
use crate::linux::priority::Priority;
use crate::linux::procfs;
use crate::linux::signals::Signals;
use crate::linux::user_namespaces::leaves_out_users;
use crate::outcome::exit;
use crate::outcome::fault::{CONFIG, Fault, NO_PROCESS, PERMISSION, Result};
use crate::places::Places;
use gate::layout::LAYOUT;
use std::collections::{BTreeSet, HashSet};

/// So many processes are named in a message.
const NAMED: usize = 5;

/// How often, and how far apart, one that may not be looked into is looked at again.
const DENIED_LOOKS: usize = 10;
const BETWEEN_LOOKS_NS: u64 = 10_000_000;

/// A helper and a first census for these gates, locked or not.
pub fn look_around(gates: &[Gate]) -> Result<(Helper, Census)> {
    look_around_for(gates, None)
}

/// The same; only processes of these users are waited for.
fn look_around_for(gates: &[Gate], users: Option<&[u32]>) -> Result<(Helper, Census)> {
    if !namespaces::proc_shows_us() {
        return Err(Fault::new(
            CONFIG,
            "/proc shows another PID namespace than the one that this command runs in, so no \
             process in it is what its number says: enter the other one whole (`nsenter -t PID \
             --pid --mount`), or mount a /proc of this one (`unshare --pid --fork --mount-proc`)",
        ));
    }
    let mut pages = Vec::new();
    for gate in gates {
        pages.push(own_page(gate.page.address()).ok_or_else(|| {
            Fault::new(
                CONFIG,
                "our own /proc/self/maps does not show the control page: is /proc whole?",
            )
        })?);
    }
    let others = other_pages(gates);
    let mut helper = Helper::new(pages, others).map_err(Fault::of_helper)?;
    let users: Option<HashSet<u32>> = users.map(|users| users.iter().copied().collect());
    let euid = nix::unistd::geteuid().as_raw();
    let service = |gate: &Gate| {
        let profile = gate.page.get().profile_text();
        Service::new([euid, gate.owner()], users.as_ref(), profile).in_namespace(gate.ids())
    };
    let marks = gates.iter().map(|gate| gate.marks.clone()).collect();
    let mut census = Census::new(gates.iter().map(service).collect(), marks);
    census.scan(&mut helper);
    Ok((helper, census))
}

/// The present pages of all other gates: a process that maps one of them is that gate's business.
fn other_pages(gates: &[Gate]) -> Vec<PageId> {
    let ours: HashSet<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
    let others = gatedir::names().into_iter().filter(|name| !ours.contains(name.as_str()));
    others.filter_map(|name| own_page(Gate::open_to_read(&name).ok()?.page.address())).collect()
}

/// What opens these gates from beside the freezer, and ends this tracer.
fn opener(gates: &[Gate], tracer: Option<i32>) -> Box<dyn Fn() + Send> {
    let pages: Vec<_> = gates.iter().map(|gate| gate.page.clone()).collect();
    Box::new(move || {
        tracer.into_iter().for_each(hold::owner::end);
        pages.iter().for_each(|page| barrier::give_up(page.get()));
    })
}

impl Session {
    /// A signal ends this tracer too from now on, or none.
    pub fn holds_by(&self, tracer: Option<i32>) {
        self.signals.open_by(opener(&self.gates, tracer));
    }

    /// Opens and locks these gates and looks which processes are there. Messages go to `note`.
    pub fn open(
        names: &[String],
        queue_ns: u64,
        users: Option<&[u32]>,
        mut note: impl FnMut(String),
    ) -> Result<Session> {
        if namespaces::has_other_clock("self") {
            // Nobody behind a gate waits by such a clock, and our deadline is another moment for all.
            return Err(Fault::new(
                CONFIG,
                "this command runs in a time namespace whose monotonic clock is not the machine's, so \
                 its limit would be another moment for the programs that it holds: run it outside of \
                 that (`nsenter -t 1 --time`), or with offset 0",
            ));
        }
        let mut names = names.to_vec();
        // One order for all freezers, or two of them wait for each other.
        names.sort();
        names.dedup();
        let priority = Priority::now();
        priority.raise();
        let signals = Signals::block().map_err(Fault::signals)?;
        let mut gates = Vec::new();
        for name in &names {
            let gate = Gate::open(name)?;
            if let Some(odd) = in_force::compare(&gate)? {
                note(odd);
            }
            gates.push(gate);
        }
        for gate in &mut gates {
            let locked = gate.lock(queue_ns, || signals.received().is_some());
            if let Some(signal) = signals.received() {
                return Err(Fault::new(exit::by_signal(signal), "interrupted; nothing was held"));
            }
            locked?;
        }
        signals.open_by(opener(&gates, None));
        let locked_at = clock::now_ns();
        for gate in &gates {
            if cooldown::lower_left_behind(gate.page.get()) {
                note(format!(
                    "gate {}: the freezer before this one died with the barrier up; it is lowered",
                    gate.name
                ));
            }
        }
        let (helper, census) = look_around_for(&gates, users)?;
        let mut session = Session {
            gates,
            census,
            helper,
            membarrier: Membarrier::find(),
            signals,
            priority,
            locked_at,
            protected: Vec::new(),
            held_later: BTreeSet::new(),
        };
        session.everybody_can_be_seen()?;
        session.require_members()?;
        session.regions_may_be_read()?;
        session.everybody_may_be_looked_into()?;
        session.fence_reaches_all()?;
        Ok(session)
    }

    /// Whoever maps a page and is not shown to us would be held, and nobody would look whether it
    /// is in flight.
    fn everybody_can_be_seen(&self) -> Result<()> {
        if let Some(why) = self.census.unlisted.filter(|why| why.is_for_want_of_rights()) {
            let why =
                format!("the processes of this machine cannot be listed ({why}); nothing was held");
            return Err(Fault::new(PERMISSION, why));
        }
        for (gate, hidden) in self.gates.iter().zip(&self.census.hidden) {
            if let Some(hidden) = hidden {
                let why = format!("gate {}: {hidden}; nothing was held", gate.name);
                return Err(Fault::new(PERMISSION, why));
            }
        }
        Ok(())
    }

    /// A freeze of no process is never a silent success.
    fn require_members(&self) -> Result<()> {
        for (at, gate) in self.gates.iter().enumerate() {
            if self.census.alive(at).next().is_some() {
                continue;
            }
            let detached: Vec<String> = self
                .census
                .detached
                .values()
                .filter(|d| d.old_page == Some(at) && !d.hears_another)
                .take(NAMED)
                .map(|d| format!("{} ({})", d.pid, d.comm))
                .collect();
            let mut why = format!(
                "gate {}: no process maps its control page {}: nothing is gated, so nothing was frozen",
                gate.name,
                gate.page_path().display()
            );
            let outside = self.census.outside.iter().filter(|(_, (of, _))| *of == at);
            let outside: Vec<String> = outside
                .take(NAMED)
                .map(|(pid, (_, program))| format!("{pid} ({program})"))
                .collect();
            if !outside.is_empty() {
                why += &format!(
                    ". These map it and do not belong to the service of any of root's or the \
                     system's accounts: {}; --users names whose they are",
                    outside.join(", ")
                );
            }
            if !detached.is_empty() {
                why += &format!(
                    ". These map a page of it that was replaced since: {}; restart them",
                    detached.join(", ")
                );
            }
            let profile = gate.page.get().profile_text();
            let service = coverage::Service::of(&self.census, at);
            let others: Vec<String> = coverage::other_layouts(
                &self.census,
                &service,
                profile,
                &Places::default().reach(),
            )
            .into_iter()
            .take(NAMED)
            .map(|(d, layout)| format!("{} ({}, {})", d.pid, d.comm, layout.name()))
            .collect();
            if !others.is_empty() {
                why += &format!(
                    ". These run another version's library, which does not hear this gate \
                     (layout {LAYOUT:08x}): {}; restart them",
                    others.join(", ")
                );
            }
            if outside.is_empty() && detached.is_empty() && others.is_empty() {
                why += &format!(
                    ". Is the server running, and was it started again since it was set up? \
                     `writegate doctor SERVER -g {}` says of each of its processes why. \
                     If it is stopped on purpose nothing needs to be held: run the snapshot command by \
                     itself",
                    gate.name
                );
            }
            let denied = self.denied(gate.owner()).len();
            // Whom even that right does not let look into is an odd one, and no reason. In a user
            // namespace it is one over those who live there alone.
            if denied > 0 && (!procfs::may_look_into_others() || leaves_out_users()) {
                why += &format!(
                    ". {denied} processes could not be looked into: run as root on the host, or with \
                     CAP_SYS_PTRACE"
                );
                return Err(Fault::new(PERMISSION, why));
            }
            return Err(Fault::new(NO_PROCESS, why));
        }
        Ok(())
    }

    /// Those that could not be looked into, for want of rights, and may believe a page of this owner:
    /// all, or where it is not root's, its own.
    fn denied(&self, owner: u32) -> Vec<i32> {
        let denied = self.census.unseen.iter().filter(|(_, why)| why.is_for_want_of_rights());
        let may_be = |pid: i32| owner == 0 || procfs::uid(pid).is_none_or(|user| user == owner);
        denied.map(|(pid, _)| *pid).filter(|pid| may_be(*pid)).collect()
    }

    /// Some of the service may be looked into without the right for it: those of the same user that have no
    /// more rights than we. Whoever else maps the page would be held, and nobody would wait for it.
    fn everybody_may_be_looked_into(&mut self) -> Result<()> {
        if procfs::may_look_into_others() {
            return Ok(());
        }
        for at in 0..self.gates.len() {
            let owner = self.gates[at].owner();
            if owner != 0 {
                continue;
            }
            // One that is about to be another program may be looked into a moment later.
            for _ in 0..DENIED_LOOKS {
                let again = self.denied(owner);
                if again.is_empty() || self.signals.received().is_some() {
                    break;
                }
                clock::sleep_ns(BETWEEN_LOOKS_NS);
                self.census.look(&mut self.helper, &again);
            }
            let denied = self.denied(owner);
            if let Some(first) = denied.first() {
                let why = format!(
                    "gate {}: {} processes may not be looked into (the first is pid {first}), and each of \
                     them may be gated and half way through a set: run as root on the host, or with \
                     CAP_SYS_PTRACE; nothing was held",
                    self.gates[at].name,
                    denied.len()
                );
                return Err(Fault::new(PERMISSION, why));
            }
        }
        Ok(())
    }

    /// A region that may not be read is in flight for ever: said at once, before anything is held.
    fn regions_may_be_read(&self) -> Result<()> {
        for at in 0..self.gates.len() {
            let refused = self.census.alive(at).find_map(|member| match member.denied {
                Some(error @ (libc::EACCES | libc::EPERM)) => Some((member, error)),
                _ => None,
            });
            if let Some((member, error)) = refused {
                let error = std::io::Error::from_raw_os_error(error);
                return Err(Fault::new(
                    PERMISSION,
                    format!(
                        "pid {} ({}): its region may not be read ({error}): run as root on the \
                         host, with CAP_SYS_PTRACE; nothing was held",
                        member.pid, member.stat.comm
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Without membarrier, only regions that announce by `xchg` can be read.
    fn fence_reaches_all(&self) -> Result<()> {
        if self.membarrier != Membarrier::None {
            return Ok(());
        }
        for at in 0..self.gates.len() {
            let weak = |m: &&Member| m.view.as_ref().is_some_and(|v| !v.strong());
            if let Some(member) = self.census.alive(at).find(weak) {
                return Err(Fault::new(
                    CONFIG,
                    format!(
                        "this kernel (or a seccomp filter) has no membarrier, and pid {} ({}) \
                         relies on it: restart the service where membarrier is refused to it too, \
                         or allow it to writegate",
                        member.pid, member.stat.comm
                    ),
                ));
            }
        }
        Ok(())
    }
}
