//! What is to be known of the gate itself: its page, the profile in force, who maps the
//! page, and which processes a freeze would hold against its snapshot.

use super::lasting_locks::{self, LastingLock};
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::command::arguments;
use crate::evidence::standing::{self, View};
use crate::freeze::session::look_around;
use crate::gatedir::other_layout::OtherLayout;
use crate::gatedir::{self, Gate};
use crate::linux::helper::own_page;
use crate::outcome::fault::{Fault, PERMISSION, Result};
use crate::outcome::finding::Finding;
use crate::outcome::ledger::Ledger;
use crate::places::Places;
use gate::region::FLAG_MORE_CALLS_MISSING;
use std::collections::{BTreeMap, BTreeSet};
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
    /// It found no memory for one.
    NoMemory,
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
    /// Why a freeze would be refused: a directory that is named and not there.
    pub refusal: Option<Fault>,
    /// No protected directory is named: nobody can be accused.
    pub names_no_directory: bool,
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
    /// What a freeze would hold against its snapshot, as the processes stand.
    pub against: Vec<Finding>,
    /// Locks that would keep it from draining.
    pub lasting_locks: Vec<LastingLock>,
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
        let (mut helper, mut census) = look_around(&gates)?;
        let paths = arguments::protected_paths(None)?;
        let mut ledger = Ledger::default();
        let named = (&paths[..], &self.profile[..]);
        let places = Places::find(&mut census, 0, &mut helper, named, &|| false);
        // What a freeze could not look at must not be green here.
        self.outside.extend(places.unread.iter().map(|unread| unread.pid));
        let mapped_since = &BTreeSet::new();
        let view = View { gate: &gates[0], at: 0, places: &places, mapped_since, is_last: true };
        ledger.note_all(standing::settled(&mut census, &mut helper, &view, &|| false).0);
        self.members(&census);
        // What a freeze would hold against its snapshot must not be green here.
        self.against = ledger.against_it().cloned().collect();
        self.outside.extend(self.against.iter().filter_map(|finding| finding.pid));
        self.lasting_locks = lasting_locks::of(&mut census, &mut helper, &self.profile);
        // A freeze would be refused.
        let hidden = census.hidden[0].map(|hidden| Fault::new(PERMISSION, hidden.to_string()));
        let refusal = gates[0].cannot_be_written().or_else(|| places.refusal(name));
        self.refusal = hidden.or(refusal);
        self.names_no_directory = places.dirs.is_empty();
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
                (None, None) if member.found_no_memory => RegionSeen::NoMemory,
                (None, None) => RegionSeen::NotUnderstood,
            };
            self.regions.insert(member.pid, seen);
        }
        let seen = |pid: &i32| match census.outside_without_memory.contains(pid) {
            true => RegionSeen::NoMemory,
            false => RegionSeen::OfOutsider,
        };
        let outside = census.outside.keys().map(|pid| (*pid, seen(pid)));
        self.regions.extend(outside);
        let sharing = census.seen.iter().filter(|(_, seen)| seen.kind == ProcessKind::Sharing);
        self.regions.extend(sharing.map(|(pid, _)| (*pid, RegionSeen::Shared)));
    }
}
