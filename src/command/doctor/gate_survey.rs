//! What is to be known of the gate itself: its page, the profile in force, who maps the
//! page, and which processes a freeze would hold against its snapshot.

use super::selection;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::command::arguments;
use crate::evidence::{concern, coverage, coverage::Service, places::Places, writers};
use crate::foreign_text::ForeignText;
use crate::freeze::session::look_around;
use crate::gatedir::other_layout::OtherLayout;
use crate::gatedir::{self, Gate};
use crate::linux::helper::own_page;
use crate::linux::look::WhyNot;
use crate::outcome::fault::{Fault, Result};
use crate::outcome::ledger::Ledger;
use gate::region::FLAG_MORE_CALLS_MISSING;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

/// A process's region.
#[derive(Clone, Debug, PartialEq)]
pub enum RegionSeen {
    /// It belongs to no process of the service: not looked at.
    OfOutsider,
    /// Read.
    Read {
        /// What it says of its process.
        flags: u32,
        /// Calls that its libc lacks.
        absent_calls: Vec<&'static str>,
    },
    /// There is none that this version understands.
    NotUnderstood,
    /// The kernel refused: the error.
    Denied(i32),
    /// It shares its parent's memory, and so its region (vfork).
    Shared,
    /// Forked, and nothing changed since: it makes a region of its own with its first change.
    NotYetMade,
}

/// The gate's page and the processes that have to do with it.
#[derive(Default)]
pub struct GateSurvey {
    /// Why the page cannot be used.
    pub fault: Option<Fault>,
    /// The layout of a page that another version made.
    pub page_layout: Option<u32>,
    /// The page's inode.
    pub page_ino: u64,
    /// When the page was made, ns since 1970; 0: unknown.
    pub page_made_ns: u64,
    /// The profile in force.
    pub profile: String,
    /// The region of each process that maps the page.
    pub regions: BTreeMap<i32, RegionSeen>,
    /// Have the library, an old page of this gate, or belong to the service, and do not
    /// map the page.
    pub outside: Vec<i32>,
    /// Not gated, and have this protected file open for writing.
    pub writers: BTreeMap<i32, ForeignText>,
}

impl GateSurvey {
    /// What can be seen of this gate; a fault ends the looking, and is kept.
    pub fn of(name: &str) -> GateSurvey {
        let mut survey = GateSurvey::default();
        if let Err(fault) = survey.look(name) {
            survey.fault = Some(fault);
            if let Some(other) = OtherLayout::of(&gatedir::root().join(name).join("control")) {
                survey.page_layout = Some(other.layout);
                survey.page_ino = other.ino;
                survey.outside = other.mapped_by.iter().map(|(pid, _)| *pid).collect();
            }
        }
        survey
    }

    /// All that have to do with it.
    pub fn pids(&self) -> impl Iterator<Item = i32> {
        self.regions.keys().chain(&self.outside).copied()
    }

    fn look(&mut self, name: &str) -> Result<()> {
        let gate = Gate::open_to_read(name)?;
        // As maps names it: on an overlay, stat shows another inode.
        self.page_ino = own_page(gate.page.address()).map_or(0, |page| page.ino);
        let made = std::fs::metadata(gate.dir.join("control")).and_then(|meta| meta.created());
        if let Ok(since) = made.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default()) {
            self.page_made_ns = since.as_nanos() as u64;
        }
        self.profile = gate.page.get().profile_text().to_owned();
        let gates = [gate];
        let (mut helper, census) = look_around(&gates)?;
        self.members(&census);
        self.outsiders(&census, name);
        let paths = arguments::protected_paths(None)?;
        let (mut ledger, service) = (Ledger::default(), Service::of(&census, 0));
        let places = Places::of(&gates[0], &census, 0, &mut helper, &paths, &mut ledger);
        // What a freeze could not look at must not be green here.
        let unseen = ledger.findings().iter().filter(|finding| finding.kind.is_against());
        self.outside.extend(unseen.filter_map(|finding| finding.pid));
        for finding in writers::ungated_writers(&census, &service, &places) {
            if let (Some(pid), Some(path)) = (finding.pid, finding.path) {
                self.outside.push(pid);
                self.writers.entry(pid).or_insert(path);
            }
        }
        Ok(())
    }

    fn members(&mut self, census: &Census) {
        for member in census.alive(0) {
            let seen = match (&member.view, member.denied) {
                (Some(view), _) => {
                    let header = view.header();
                    let missing = header.missing.iter().map(|at| at.load(Relaxed));
                    let missing = missing.filter(|call| *call != 0);
                    let flags = header.flags.load(Relaxed);
                    let more = (flags & FLAG_MORE_CALLS_MISSING != 0).then_some("and more");
                    let names = missing.map(|call| gate::calls::name(call as u16));
                    RegionSeen::Read { flags, absent_calls: names.chain(more).collect() }
                }
                (None, Some(error)) => RegionSeen::Denied(error),
                (None, None) if member.fresh_fork => RegionSeen::NotYetMade,
                (None, None) => RegionSeen::NotUnderstood,
            };
            self.regions.insert(member.pid, seen);
        }
        let outside = census.outside.keys().map(|pid| (*pid, RegionSeen::OfOutsider));
        self.regions.extend(outside);
        let sharing = census.seen.iter().filter(|(_, seen)| seen.kind == ProcessKind::Sharing);
        self.regions.extend(sharing.map(|(pid, _)| (*pid, RegionSeen::Shared)));
    }

    fn outsiders(&mut self, census: &Census, gate: &str) {
        let (old_page, no_page): (Vec<_>, Vec<_>) =
            census.detached.values().partition(|detached| detached.old_page.is_some());
        self.outside.extend(old_page.iter().map(|detached| detached.pid));
        // With the library and no page at all: only those that name this gate, or none.
        let no_page = no_page.iter().map(|detached| detached.pid);
        self.outside.extend(no_page.filter(|pid| selection::asks_for(*pid, gate)));
        let others = coverage::other_layouts(census, 0, &self.profile);
        self.outside.extend(others.iter().map(|(detached, _)| detached.pid));
        // What a freeze would hold against its snapshot must not be green here.
        self.outside.extend(coverage::ungated(census, 0).iter().map(|outsider| outsider.pid));
        let service = Service::of(census, 0);
        let concerned =
            |(pid, why): &(&i32, &WhyNot)| concern::is_concerned(census, &service, **pid, **why);
        self.outside.extend(census.unseen.iter().filter(concerned).map(|(pid, _)| *pid));
    }
}
