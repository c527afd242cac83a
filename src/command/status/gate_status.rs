//! A gate and its processes, as they are now.

use crate::census::blockers;
use crate::census::list::Census;
use crate::census::member::Member;
use crate::command::arguments;
use crate::evidence::coverage;
use crate::evidence::standing::{self, View};
use crate::foreign_text::ForeignText;
use crate::freeze::session::look_around;
use crate::gatedir::{self, Gate, history};
use crate::linux::{clock, procfs};
use crate::outcome::blocker::Blocker;
use crate::outcome::cause::Cause;
use crate::outcome::fault::Result;
use crate::outcome::finding::Finding;
use crate::outcome::ledger::Ledger;
use crate::places::Places;
use gate::layout::LAYOUT;
use gate::word::ProcessWord;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Acquire;

/// One gate, as it is now.
#[derive(Serialize)]
pub struct GateStatus {
    /// Its name.
    pub gate: String,
    /// Its directory.
    pub directory: String,
    /// `open`, `closed`, or `lease-over`: raised, and its deadline has passed.
    pub barrier: &'static str,
    /// Until writers go on by themselves, ms.
    pub left_ms: Option<f64>,
    /// A freezer holds the lock; null: may not be looked at.
    pub freezer: Option<bool>,
    /// Freezes so far.
    pub freezes: u64,
    /// When the last freeze ended, seconds since 1970; null: none is known.
    pub last_freeze: Option<u64>,
    /// When the last CONSISTENT one ended; null: none is known.
    pub last_consistent: Option<u64>,
    /// The verdict line of the last freeze.
    pub last_line: Option<String>,
    /// Of the page, the gated processes and this command.
    pub layout: String,
    /// The gated processes.
    pub processes: Vec<ProcessStatus>,
    /// Have mapped a control page that was replaced: detached until restarted.
    pub old_page: Vec<ProcessName>,
    /// Belong to the service, and run a library of another layout: not gated.
    pub other_layout: Vec<LayoutStatus>,
    /// Belong to the service, by unit, program or parent, and are not gated.
    pub ungated: Vec<ProcessName>,
    /// Map the page and do not belong to the service: held, and not waited for.
    pub outsiders: Vec<ProcessName>,
    /// Concern the service, and could not be looked into.
    pub unseen: usize,
    /// All that a freeze would hold against its snapshot, as the processes stand.
    pub against: Vec<Finding>,
}

/// A process that is only named.
#[derive(Serialize)]
pub struct ProcessName {
    /// Its id.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
}

/// A process that runs a library of another layout.
#[derive(Serialize)]
pub struct LayoutStatus {
    /// Its id.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
    /// That layout, as messages call it.
    pub layout: String,
}

/// One gated process, as it is now.
#[derive(Serialize)]
pub struct ProcessStatus {
    /// Its id.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
    /// Its user.
    pub uid: Option<u32>,
    /// Its parent, if that is gated too.
    pub parent: Option<i32>,
    /// `idle`, `in-flight`, `held`, `waits-for-lock`.
    pub state: String,
    /// Threads that have a slot.
    pub threads: usize,
    /// Locks that it holds.
    pub locks: u16,
    /// What it is in flight with, and what it waits for.
    pub details: Vec<Blocker>,
}

/// The gates that were named, else all there are.
pub fn all(named: &[String]) -> Vec<Result<GateStatus>> {
    let names = if named.is_empty() { gatedir::names() } else { named.to_vec() };
    names.iter().map(|name| GateStatus::of(name)).collect()
}

/// Said where there is none.
pub fn no_gates() -> String {
    format!(
        "no gates in {}: no server was started behind one since this machine's start. `writegate setup \
         --list` shows the servers that can be; `writegate doctor SERVER` says why one is not",
        gatedir::root().display()
    )
}

impl GateStatus {
    /// How many processes are in this state.
    pub fn count(&self, state: &str) -> usize {
        self.processes.iter().filter(|process| process.state == state).count()
    }

    fn of(name: &str) -> Result<GateStatus> {
        let gates = [Gate::open_to_read(name)?];
        let (mut helper, mut census) = look_around(&gates)?;
        let [gate] = gates;
        let mut ledger = Ledger::default();
        let paths = arguments::protected_paths(None)?;
        let named = (&paths[..], gate.page.get().profile_text());
        let places = Places::find(&mut census, 0, &mut helper, named, &|| false);
        let mapped_since = &BTreeSet::new();
        let view = View { gate: &gate, at: 0, places: &places, mapped_since, is_last: true };
        let (found, service) = standing::settled(&mut census, &mut helper, &view, &|| false);
        ledger.note_all(found);
        let against: Vec<Finding> = ledger.against_it().cloned().collect();
        let named = |is_it: &dyn Fn(&Cause) -> bool| -> Vec<ProcessName> {
            let known = against.iter().filter(|finding| finding.known().is_some_and(is_it));
            let name = |finding: &Finding| {
                Some(ProcessName { pid: finding.pid?, program: finding.program.clone()? })
            };
            known.filter_map(name).collect()
        };
        let page = gate.page.get();
        let (barrier, now) = (page.barrier.load(Acquire), clock::now_ns());
        let others =
            coverage::other_layouts(&census, &service, page.profile_text(), &places.reach())
                .into_iter();
        let past = history::read(&gate.dir);
        Ok(GateStatus {
            last_freeze: past.last.as_ref().map(|entry| entry.at),
            last_consistent: past.last_good.map(|entry| entry.at),
            last_line: past.last.map(|entry| entry.line),
            gate: name.into(),
            directory: gate.dir.display().to_string(),
            barrier: match barrier {
                0 => "open",
                deadline if deadline <= now => "lease-over",
                _ => "closed",
            },
            left_ms: (barrier > now).then(|| (barrier - now) as f64 / 1e6),
            freezer: gate.is_locked(),
            freezes: page.freezes.load(Acquire),
            layout: format!("{LAYOUT:08x}"),
            processes: census.alive(0).map(|member| process(member, &census)).collect(),
            old_page: named(&|cause| *cause == Cause::OldPage),
            other_layout: others
                .map(|(process, layout)| LayoutStatus {
                    pid: process.pid,
                    program: process.comm.clone(),
                    layout: layout.name(),
                })
                .collect(),
            ungated: named(&|cause| matches!(cause, Cause::Ungated(_) | Cause::OtherGate(_))),
            outsiders: (census.outside.iter())
                .map(|(pid, (_, program))| ProcessName { pid: *pid, program: program.clone() })
                .collect(),
            unseen: named(&|cause| matches!(cause, Cause::NotSeen(..))).len(),
            against,
        })
    }
}

fn process(member: &Member, census: &Census) -> ProcessStatus {
    let blocking = blockers::of(member);
    let waiting = blockers::waiting(member);
    let state = match (blocking.first(), waiting.first()) {
        (Some(_), _) => "in-flight".to_owned(),
        (None, Some(waits)) => waits.state.name().to_owned(),
        (None, None) => "idle".to_owned(),
    };
    let view = member.view.as_ref();
    let threads = view
        .map_or(0, |view| view.slots().iter().filter(|slot| slot.tid.load(Acquire) != 0).count());
    ProcessStatus {
        pid: member.pid,
        program: member.stat.comm.clone(),
        uid: procfs::uid(member.pid),
        parent: member.parent.map(|at| census.gates[0][at].pid),
        state,
        threads,
        locks: view.map_or(0, |view| ProcessWord(view.header().process.load(Acquire)).locks()),
        details: blocking.into_iter().chain(waiting).collect(),
    }
}
