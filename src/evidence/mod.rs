//! The evidence: what speaks for or against the snapshot, beside the drain itself.
//!
//! | step | what is done | cost to those who are held |
//! |---|---|---|
//! | [`Evidence::gather`] | list who is not gated and should be, who has protected files open | none: before the barrier |
//! | [`Evidence::before_closing`] | flush while writers still run | none |
//! | [`Evidence::drained`] | ask who holds a lock and is not gated, begin to watch for changes; flush the rest | some µs; `--sync` |
//! | [`Evidence::meanwhile`] | compare kernel locks with the regions, take what was seen | none: the command runs |
//! | [`Evidence::before_opening`] | take the rest of it | one read |
//! | [`Evidence::after`] | ask again who is not gated, judge | none: after the thaw |

pub mod coverage;
mod flush;
mod holders;
mod locks;
pub mod places;
mod watch;
pub mod writers;

use crate::drive::engine::Session;
use crate::freeze::{Options, Require};
use crate::linux::procfs;
use crate::linux::sys;
use crate::outcome::report::{Finding, FindingKind, Record};
use crate::outcome::verdict::{Coverage, Verdict};
use coverage::{Service, Ungated};
use gate::layout::LAYOUT;
use places::Places;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;
use watch::{Change, Watch};

/// How often, and how far apart, somebody who looks ungated is looked at again.
const LOOKS: usize = 10;
const BETWEEN_LOOKS_NS: u64 = 10_000_000;
/// Longest flush before the barrier goes up: nobody waits for it but us.
const PRE_FLUSH: Duration = Duration::from_secs(30);

/// What is known of a freeze beside its drain.
#[derive(Default)]
pub struct Evidence {
    enabled: bool,
    findings: Vec<Vec<Finding>>,
    places: Vec<Places>,
    ungated: Vec<Vec<Ungated>>,
    services: Vec<Service>,
    watch: Watch,
    /// Next member to be asked for its locks, by gate.
    locks_asked: Vec<usize>,
    command: Option<i32>,
    flushed: bool,
}

fn finding(kind: FindingKind, what: impl Into<String>) -> Finding {
    Finding { kind, pid: None, program: None, path: None, what: what.into() }
}

impl Evidence {
    /// Before anything is held.
    pub fn gather(session: &mut Session, options: &Options) -> Evidence {
        let gates = session.gates.len();
        let mut evidence = Evidence {
            enabled: options.evidence,
            findings: vec![Vec::new(); gates],
            locks_asked: vec![0; gates],
            ..Evidence::default()
        };
        if !options.evidence {
            return evidence;
        }
        for at in 0..gates {
            let Session { gates, census, helper, .. } = session;
            evidence.places.push(Places::of(&gates[at], census, at, helper, options));
            evidence.look_for_writers(session, at);
            evidence.ungated.push(coverage::ungated(&session.census, at));
            evidence.services.push(Service::of(&session.census, at));
            if evidence.places[at].dirs.is_empty() {
                evidence.findings[at].push(finding(
                    FindingKind::Unchecked,
                    "no protected directory is named (--paths, the profile's `path`, \
                     WRITEGATE_PATHS): changes past the gate cannot be watched for",
                ));
            }
        }
        evidence.watch = Watch::prepare(&evidence.places);
        evidence
    }

    /// Time has passed since it was gathered, and nobody is held yet: who looks
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
    /// Whoever looks ungated is therefore looked at again until it is not, or is
    /// still so after a time that no start takes.
    fn look_for_writers(&mut self, session: &mut Session, at: usize) {
        for _ in 0..LOOKS {
            let suspects = writers::ungated_writers(&session.census, &self.places[at]);
            let mut pids: Vec<i32> = suspects.iter().filter_map(|f| f.pid).collect();
            pids.extend(coverage::ungated(&session.census, at).iter().map(|u| u.pid));
            if pids.is_empty() {
                break;
            }
            sys::sleep_ns(BETWEEN_LOOKS_NS);
            session.census.look(&mut session.helper, &pids);
        }
        let mut new = writers::ungated_writers(&session.census, &self.places[at]);
        for detached in session.census.detached.values().filter(|d| d.old_page == Some(at)) {
            new.push(Finding {
                pid: Some(detached.pid),
                program: Some(detached.comm.clone()),
                ..finding(
                    FindingKind::UngatedWriter,
                    "maps a control page of this gate that was replaced: detached until restarted",
                )
            });
        }
        let page = session.gates[at].page.get();
        for (other, layout) in coverage::other_layouts(&session.census, at, page.profile_text()) {
            new.push(Finding {
                pid: Some(other.pid),
                program: Some(other.comm.clone()),
                ..finding(
                    FindingKind::UngatedWriter,
                    format!(
                        "runs another version's library ({}; this gate has layout {LAYOUT:08x}), \
                         which does not hear this gate: restart it",
                        layout.name()
                    ),
                )
            });
        }
        for found in new {
            if !self.findings[at].contains(&found) {
                self.findings[at].push(found);
            }
        }
    }

    fn dirs(&self) -> Vec<PathBuf> {
        self.places.iter().flat_map(|p| p.dirs.clone()).collect()
    }

    /// Writers still run.
    pub fn before_closing(&mut self, options: &Options) {
        if options.sync {
            // What fails here is said when it fails again under the barrier.
            let _ = flush::flush(&self.dirs(), PRE_FLUSH);
        }
    }

    /// Everybody is held: from now on every change is an escape.
    pub fn drained(&mut self, session: &mut Session, options: &Options, deadline: u64) {
        if !self.enabled {
            return;
        }
        for (at, service) in self.services.iter().enumerate() {
            let Session { census, helper, .. } = session;
            self.findings[at].extend(holders::unlisted(census, helper, service));
        }
        if self.places.iter().any(|p| !p.dirs.is_empty()) {
            self.watch.arm(&self.places);
        }
        if options.sync {
            let left = deadline.saturating_sub(sys::now_ns());
            let flushed = flush::flush(&self.dirs(), Duration::from_nanos(left));
            self.flushed = flushed.is_ok();
            if let Err(what) = flushed {
                let text = format!("--sync failed, the snapshot may lack data: {what}");
                for findings in &mut self.findings {
                    findings.push(finding(FindingKind::Uncovered, text.clone()));
                }
            }
        }
    }

    /// The command runs now.
    pub fn command_is(&mut self, pid: i32) {
        self.command = Some(pid);
    }

    /// Readable when something was changed.
    pub fn fds(&self) -> Vec<RawFd> {
        self.watch.fds()
    }

    /// The command runs; nobody waits for us. True: there is more to do at once.
    pub fn meanwhile(&mut self, session: &Session) -> bool {
        if !self.enabled {
            return false;
        }
        self.take_changes();
        self.ask_for_locks(session)
    }

    fn take_changes(&mut self) {
        let command = self.command;
        let me = std::process::id() as i32;
        self.watch.take(|pid| {
            let mut at = pid;
            for _ in 0..64 {
                if Some(at) == command || at == me {
                    return true;
                }
                match procfs::stat(at) {
                    Some(stat) if stat.ppid > 1 => at = stat.ppid,
                    _ => return false,
                }
            }
            false
        });
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
    pub fn before_opening(&mut self, session: &Session, options: &Options) {
        if !self.enabled {
            return;
        }
        if options.require.contains(&Require::Locks) {
            while self.ask_for_locks(session) {}
        }
        self.take_changes();
    }

    /// The barrier is down.
    pub fn after(&mut self, session: &mut Session) {
        if !self.enabled {
            return;
        }
        session.census.rescan(&mut session.helper, true, false);
        for at in 0..session.gates.len() {
            self.look_for_writers(session, at);
            self.judge_changes(at);
            // Only who was there before and is so still: a process on its way
            // through exec looks ungated for a moment.
            let now = coverage::ungated(&session.census, at);
            for still in self.ungated[at].iter().filter(|u| now.contains(u)) {
                self.findings[at].push(Finding {
                    pid: Some(still.pid),
                    program: Some(still.program.clone()),
                    ..finding(FindingKind::Uncovered, still.why)
                });
            }
            self.findings[at].extend(coverage::ways_past(&session.census, at));
            self.note_gaps(session, at);
            if session.gates[at].was_replaced() {
                self.findings[at].push(finding(
                    FindingKind::UngatedWriter,
                    "the gate's control page was replaced during the freeze: who started since \
                     does not hear this one",
                ));
            }
        }
    }

    fn judge_changes(&mut self, at: usize) {
        let places = &self.places[at];
        let escaped = |c: &&Change| !c.own && places.holds(&c.path) && !is_snapshot(c);
        let escapes: Vec<Finding> = self
            .watch
            .changes
            .iter()
            .filter(escaped)
            .map(|change| Finding {
                pid: Some(change.pid),
                program: change.program.clone().or(Some("gone since".into())),
                path: Some(change.path.to_string_lossy().into_owned()),
                ..finding(FindingKind::Escape, "changed a protected file while the gate was closed")
            })
            .collect();
        self.findings[at].extend(escapes);
        for blind in &self.watch.blind {
            self.findings[at].push(finding(FindingKind::Unchecked, blind.0.clone()));
        }
    }

    fn note_gaps(&mut self, session: &Session, at: usize) {
        let members = session.census.gates[at].len();
        if self.locks_asked[at] < members {
            let text = format!(
                "locks of {} processes: the command was too quick",
                members - self.locks_asked[at]
            );
            self.findings[at].push(finding(FindingKind::Unchecked, text));
        }
        for pid in &session.helper.dark {
            self.findings[at].push(Finding {
                pid: Some(*pid),
                program: procfs::stat(*pid).map(|s| s.comm),
                ..finding(
                    FindingKind::Unchecked,
                    "cannot be looked into: it hangs in the kernel (a dead disk or network mount?)",
                )
            });
        }
        if !session.census.denied.is_empty() {
            let text = format!(
                "{} processes may not be looked into by this user",
                session.census.denied.len()
            );
            self.findings[at].push(finding(FindingKind::Unchecked, text));
        }
        for member in session.census.outsider(at) {
            self.findings[at].push(Finding {
                pid: Some(member.pid),
                program: Some(member.stat.comm.clone()),
                ..finding(
                    FindingKind::Uncovered,
                    "maps the control page and is of none of --users: not waited for",
                )
            });
        }
        for (pid, program) in session.census.died_in_section(at) {
            self.findings[at].push(Finding {
                pid: Some(pid),
                program: Some(program),
                ..finding(
                    FindingKind::DiedInSection,
                    "died inside a section: what it left is for the server's own recovery",
                )
            });
        }
    }

    /// What was found about a gate.
    pub fn findings(&self, gate: usize) -> Vec<Finding> {
        self.findings.get(gate).cloned().unwrap_or_default()
    }

    /// The verdict that the findings allow a gate whose barrier held.
    pub fn verdict(&self, gate: usize, options: &Options) -> Verdict {
        let findings = self.findings(gate);
        let has = |kind: FindingKind| findings.iter().any(|f| f.kind == kind);
        if has(FindingKind::Escape) {
            return Verdict::Escaped;
        }
        let missing = options.require.iter().any(|required| match required {
            Require::Fanotify => !self.watch.is_armed() || !self.watch.blind.is_empty(),
            Require::Locks => findings.iter().any(|f| f.what.contains("lock")),
            // Decided before anybody was held.
            Require::Quiet => false,
            Require::Coverage => Record::coverage(&findings) != Coverage::Full,
        });
        if has(FindingKind::UngatedWriter) || missing {
            Verdict::Ungated
        } else {
            Verdict::Consistent
        }
    }
}

/// A new btrfs subvolume below a protected directory is the snapshot, whoever made it.
fn is_snapshot(change: &Change) -> bool {
    use std::os::unix::fs::MetadataExt;
    const FIRST_INODE_OF_A_SUBVOLUME: u64 = 256;
    change.new_dir
        && std::fs::metadata(&change.path).is_ok_and(|m| m.ino() == FIRST_INODE_OF_A_SUBVOLUME)
}
