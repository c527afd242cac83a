//! The evidence, gathered step by step.
//!
//! | step | what is done | cost to those that are held |
//! |---|---|---|
//! | [`Evidence::gather`] | list what is not gated and should be, what has protected files open | none: before the barrier |
//! | [`Evidence::before_closing`] | flush while writers still run | none |
//! | [`Evidence::drained`] | ask what holds a lock and is not gated, begin to watch for changes; flush the rest | some µs; `--sync` |
//! | [`Evidence::meanwhile`] | compare kernel locks with the regions, take what was seen | none: the command runs |
//! | [`Evidence::before_opening`] | take the rest of it | one read |
//! | [`Evidence::after`] | ask again what is not gated, judge | none: after the thaw |

use super::ancestry::reaches;
use super::coverage::{self, Service, Ungated};
use super::places::Places;
use super::wanted::{Require, Wanted};
use super::watch::Watch;
use super::{flush, holders, locks, writers};
use crate::drive::session::Session;
use crate::linux::clock;
use crate::outcome::finding::{Cause, Finding, FindingKind};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often, and how far apart, a process that looks ungated is looked at again.
const SUSPECT_LOOKS: usize = 10;
const BETWEEN_LOOKS_NS: u64 = 10_000_000;
/// Longest flush before the barrier goes up: only we wait for it.
const PRE_FLUSH: Duration = Duration::from_secs(30);

/// What is known of a freeze beside its drain.
#[derive(Default)]
pub struct Evidence {
    pub(super) wanted: Wanted,
    /// What was found, by gate.
    pub(super) findings: Vec<Vec<Finding>>,
    pub(super) places: Vec<Places>,
    /// What looked ungated before anything was held, by gate.
    pub(super) ungated: Vec<Vec<Ungated>>,
    services: Vec<Service>,
    pub(super) watch: Watch,
    /// Next member to be asked for its locks, by gate.
    pub(super) locks_asked: Vec<usize>,
    command: Option<i32>,
}

impl Evidence {
    /// Before anything is held.
    pub fn gather(session: &mut Session, wanted: &Wanted) -> Evidence {
        let gates = session.gates.len();
        let mut evidence = Evidence {
            wanted: wanted.clone(),
            findings: vec![Vec::new(); gates],
            locks_asked: vec![0; gates],
            ..Evidence::default()
        };
        if !wanted.gather {
            return evidence;
        }
        for at in 0..gates {
            let Session { gates, census, helper, .. } = session;
            evidence.places.push(Places::of(&gates[at], census, at, helper, &wanted.paths));
            evidence.look_for_writers(session, at);
            evidence.ungated.push(coverage::ungated(&session.census, at));
            evidence.services.push(Service::of(&session.census, at));
            if evidence.places[at].dirs.is_empty() {
                evidence.findings[at].push(Cause::NoDirectories.into());
            }
            let missing = evidence.places[at].missing.iter().cloned().map(Finding::from);
            evidence.findings[at].extend(missing);
        }
        evidence.watch = Watch::prepare(&evidence.places);
        evidence
    }

    /// Time has passed since it was gathered, and nothing is held yet: what looks
    /// ungated now.
    pub fn refresh(&mut self, session: &Session) {
        for (at, ungated) in self.ungated.iter_mut().enumerate() {
            *ungated = coverage::ungated(&session.census, at);
            self.services[at] = Service::of(&session.census, at);
        }
    }

    /// Writers that were known before anything was held, of any gate.
    pub fn known_writers(&self) -> bool {
        self.findings.iter().flatten().any(|f| f.kind == FindingKind::UngatedWriter)
    }

    /// A process on its way from exec to our constructor has its files open already
    /// and maps no page yet; one that exits has lost its maps and not yet its files.
    /// One that looks ungated is therefore looked at again until it does not, or still
    /// does after a time that no start takes.
    pub(super) fn look_for_writers(&mut self, session: &mut Session, at: usize) {
        for _ in 0..SUSPECT_LOOKS {
            let suspects = writers::ungated_writers(&session.census, &self.places[at]);
            let writers = suspects.iter().filter(|f| f.kind == FindingKind::UngatedWriter);
            let mut pids: Vec<i32> = writers.filter_map(|f| f.pid).collect();
            pids.extend(coverage::ungated(&session.census, at).iter().map(|u| u.pid));
            if pids.is_empty() || session.signals.received().is_some() {
                break;
            }
            clock::sleep_ns(BETWEEN_LOOKS_NS);
            session.census.look(&mut session.helper, &pids);
        }
        let mut new = writers::ungated_writers(&session.census, &self.places[at]);
        for detached in session.census.detached.values().filter(|d| d.old_page == Some(at)) {
            new.push(Finding::of(Cause::OldPage, detached.pid, Some(detached.comm.clone())));
        }
        let profile = session.gates[at].page.get().profile_text();
        for (other, layout) in coverage::other_layouts(&session.census, at, profile) {
            let program = Some(other.comm.clone());
            new.push(Finding::of(Cause::OtherLayout(layout), other.pid, program));
        }
        for found in new {
            if !self.findings[at].contains(&found) {
                self.findings[at].push(found);
            }
        }
    }

    /// The protected directories, by gate.
    pub fn protected(&self) -> Vec<Vec<PathBuf>> {
        self.places.iter().map(|places| places.dirs.clone()).collect()
    }

    fn dirs(&self) -> Vec<(PathBuf, Arc<File>)> {
        let of = |p: &Places| -> Vec<_> { p.dirs.iter().cloned().zip(p.files.clone()).collect() };
        self.places.iter().flat_map(of).collect()
    }

    /// Writers still run.
    pub fn before_closing(&mut self, stop: &dyn Fn() -> bool) {
        if self.wanted.sync {
            // What fails here is said when it fails again under the barrier.
            let _ = flush::flush(&self.dirs(), PRE_FLUSH, stop);
        }
    }

    /// Every writer is held: from now on every change is an escape.
    pub fn drained(&mut self, session: &mut Session, deadline: u64) {
        if !self.wanted.gather {
            return;
        }
        for (at, service) in self.services.iter().enumerate() {
            let Session { census, helper, .. } = session;
            self.findings[at].extend(holders::unlisted(census, helper, service));
        }
        if self.places.iter().any(|p| !p.dirs.is_empty()) {
            self.watch.arm(&self.places);
        }
        if self.wanted.sync {
            let left = deadline.saturating_sub(clock::now_ns());
            let stop = || session.signals.received().is_some();
            if let Err(why) = flush::flush(&self.dirs(), Duration::from_nanos(left), &stop) {
                for findings in &mut self.findings {
                    findings.push(Cause::SyncFailed(why.clone()).into());
                }
            }
        }
    }

    /// The command runs now.
    pub fn command_is(&mut self, pid: i32) {
        self.command = Some(pid);
    }

    /// Readable when something was changed.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.watch.fds()
    }

    /// The command runs; no process waits for us. True: there is more to do at once.
    pub fn meanwhile(&mut self, session: &Session) -> bool {
        if !self.wanted.gather {
            return false;
        }
        self.take_changes();
        self.ask_for_locks(session)
    }

    fn take_changes(&mut self) {
        let command = self.command;
        let me = std::process::id() as i32;
        let places = &self.places;
        self.watch.take(
            |pid| reaches(pid, |at| Some(at) == command || at == me),
            |path| places.iter().any(|p| p.holds(path)),
        );
    }

    /// Compares the locks of one more member. False: all are done.
    fn ask_for_locks(&mut self, session: &Session) -> bool {
        for (at, members) in session.census.gates.iter().enumerate() {
            let next = self.locks_asked[at];
            let Some(member) = members.get(next) else { continue };
            self.locks_asked[at] += 1;
            if !member.gone && member.nonce != 0 {
                self.findings[at].extend(locks::unknown_locks(member).unwrap_or_default());
            }
            return true;
        }
        false
    }

    /// The snapshot is made; the barrier is still up.
    pub fn before_opening(&mut self, session: &Session) {
        if !self.wanted.gather {
            return;
        }
        if self.wanted.requires(Require::Locks) {
            while self.ask_for_locks(session) {}
        }
        self.take_changes();
    }
}
