//! What speaks against a snapshot as the processes stand now: the one judgement of freeze, status and
//! doctor.

use super::coverage::{self, Service};
use super::{concern, mappings, writers};
use crate::census::kinds::{Detached, ProcessKind};
use crate::census::list::Census;
use crate::gatedir::Gate;
use crate::linux::clock;
use crate::linux::helper::owner::Helper;
use crate::linux::process::is_there;
use crate::linux::procfs;
use crate::outcome::cause::{Cause, Claim, Subject};
use crate::outcome::finding::Finding;
use crate::places::Places;
use std::collections::BTreeSet;

/// How often, and how far apart, a process that looks ungated is looked at again.
const SUSPECT_LOOKS: usize = 10;
/// One that may still be starting is looked at again for so long: on a busy machine, or under an
/// emulator, the loader takes its time. Nobody is held meanwhile.
const STARTING_NS: u64 = 2_000_000_000;
/// And for so long while it is seen at work: many that start at once take turns at the processors.
const STARTING_AT_WORK_NS: u64 = 10_000_000_000;
const BETWEEN_LOOKS_NS: u64 = 10_000_000;

/// A gate, its place in the census, and what it protects.
pub struct View<'a> {
    /// The gate.
    pub gate: &'a Gate,
    /// Its place.
    pub at: usize,
    /// What it protects.
    pub places: &'a Places,
    /// Members that may have mapped a file since their mappings were looked at before: this look does
    /// not tell what they could store into meanwhile.
    pub mapped_since: &'a BTreeSet<i32>,
    /// Nobody is asked again after this.
    pub is_last: bool,
}

/// What is found, and by what the service's processes were told from others.
///
/// A process on its way from exec to our constructor has its files open already and maps no page
/// yet; one that exits has lost its maps and not yet its files. One that looks ungated is therefore
/// looked at again until it does not, or still does after a time that no start takes.
pub fn settled(
    census: &mut Census,
    helper: &mut Helper,
    view: &View<'_>,
    stop: &dyn Fn() -> bool,
) -> (Vec<Finding>, Service) {
    let (mut looks, begun) = (0, clock::now_ns());
    loop {
        let service = Service::of(census, view.at);
        let mut found = found(census, &service, view);
        let may_pass = |finding: &&Finding| {
            finding.kind.is_against() && !finding.known().is_some_and(Cause::is_of_a_member)
        };
        let pids: Vec<i32> =
            found.iter().filter(may_pass).filter_map(|finding| finding.pid).collect();
        // One of which no C library shows yet and a loader may be at work, or that has ours and no page, may be
        // slow to start.
        let has_no_page_yet =
            |detached: &Detached| detached.old_page.is_none() && detached.other_layout.is_none();
        let starting = |pid: &i32| {
            census.detached.get(pid).is_some_and(has_no_page_yet)
                || census.seen.get(pid).is_some_and(|seen| seen.kind == ProcessKind::Undecided)
        };
        let patience = if pids.iter().any(|pid| starting(pid) && procfs::works(*pid, *pid)) {
            STARTING_AT_WORK_NS
        } else {
            STARTING_NS
        };
        let in_time = clock::now_ns() - begun < patience && pids.iter().any(starting);
        if pids.is_empty() || looks >= SUSPECT_LOOKS && !in_time || stop() {
            let unlisted = census.unlisted.map(|why| Cause::NotSeen(Subject::Listing, why));
            found.extend(unlisted.map(Finding::from));
            let asked = (view.at, view.places, view.is_last);
            let looked = mappings::look_for(census, helper, &service, asked);
            // What it admits beside says no more, where that was seen.
            let same = |a: &Finding, b: &Finding| a.pid == b.pid && a.cause == b.cause;
            found.retain(|said| !looked.found.iter().any(|seen| same(seen, said)));
            // It knows devices; whether the file is below a protected directory was looked up.
            let looked_up = |said: &Finding| {
                said.known() == Some(&Cause::MapsShared)
                    && said.pid.is_some_and(|pid| {
                        looked.seen.contains(&pid) && !view.mapped_since.contains(&pid)
                    })
            };
            found.retain(|said| !looked_up(said));
            found.extend(looked.found);
            return (found, service);
        }
        looks += 1;
        clock::sleep_ns(BETWEEN_LOOKS_NS);
        census.take_mappings();
        census.look(helper, &pids);
    }
}

/// The same by what is known so far.
fn found(census: &Census, service: &Service, view: &View<'_>) -> Vec<Finding> {
    let (at, places) = (view.at, view.places);
    let reach = places.reach();
    let mut found = writers::ungated_writers(census, service, places);
    let profile = view.gate.page.get().profile_text();
    for (other, layout) in coverage::other_layouts(census, service, profile, &reach) {
        let program = Some(other.comm.clone());
        found.push(Finding::of(Cause::OtherLayout(layout), other.pid, program));
    }
    for detached in census.detached.values() {
        let cause = match detached.old_page {
            // A container's own gate of that name; unless it can come to what is protected here, for then it may
            // as well be ours, over whose page something was mounted.
            Some(_) if detached.hears_another && !reach.includes(detached.pid) => continue,
            Some(old) if old == at => Cause::OldPage,
            _ if detached.other_layout.is_some() || detached.asks_for != Some(at) => continue,
            _ if !census.belongs(at, detached.pid) => continue,
            _ if coverage::left_out(detached.pid, profile) => continue,
            _ if coverage::runs_this_command(detached.pid) => continue,
            // It asks for a gate of that name in a container of its own, which has none.
            _ if !reach.includes(detached.pid) => continue,
            _ => Cause::Detached,
        };
        found.push(Finding::of(cause, detached.pid, Some(detached.comm.clone())));
    }
    for ungated in coverage::ungated(census, service, &reach) {
        // Its library stands aside, as the admin has asked. Where directories are known, what it has
        // open there, or changes, tells.
        if coverage::left_out(ungated.pid, profile) {
            continue;
        }
        let cause = match ungated.elsewhere {
            false => Cause::Ungated(ungated.why),
            // What is open here, or changes here, tells. Several gates may run the same program.
            true if !places.dirs.is_empty() || ungated.why == Claim::Program => continue,
            true => Cause::OtherGate(ungated.why),
        };
        found.push(Finding::of(cause, ungated.pid, Some(ungated.program)));
    }
    found.extend(coverage::ways_past(census, at));
    found.extend(unseen(census, service));
    found
}

/// Whom it concerns that could not be looked at.
pub fn unseen(census: &Census, service: &Service) -> Vec<Finding> {
    let there = census.unseen.iter().filter(|(pid, _)| is_there(**pid));
    let hidden = census.hidden.get(service.gate()).copied().flatten();
    let hidden = hidden.map(|hidden| Finding::from(Cause::Hidden(hidden)));
    there
        .filter_map(|(pid, why)| concern::not_seen(census, service, *pid, Subject::Process, *why))
        .chain(hidden)
        .collect()
}
