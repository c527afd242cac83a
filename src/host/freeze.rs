//! One freeze from beginning to end, whoever asked for it: `freeze -- CMD`, the
//! keeper, `rehearse`.

use super::engine::{Ended, Session};
use super::evidence::Evidence;
use super::fault::Result;
use super::report::{CommandRecord, Finding, GateRecord, Kind, Moment, Process, Record, SCHEMA};
use super::run::Run;
use super::session::Thawed;
use super::sys;
use super::verdict::{Line, Verdict};
use gate::drain::Broken;
use gate::region;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Gates.
    pub gates: Vec<String>,
    /// No writer waits longer, ns.
    pub limit_ns: u64,
    /// One attempt to drain lasts at most, ns.
    pub drain_ns: u64,
    /// Further attempts.
    pub retries: u32,
    /// How long to wait for another freezer, ns.
    pub queue_ns: u64,
    /// Only processes of these users (and root) are waited for; none: all.
    pub users: Option<Vec<u32>>,
    /// Protected directories, as the freezer was told.
    pub paths: Vec<PathBuf>,
    /// Flush the file systems of the protected directories.
    pub sync: bool,
    /// What must have been checked (`fanotify`, `locks`, `coverage`).
    pub require: Vec<Require>,
    /// Gather evidence (a rehearsal does without).
    pub evidence: bool,
}

/// What may be required of the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Require {
    /// Changes during the window were watched for.
    Fanotify,
    /// Kernel locks were compared with what the regions say.
    Locks,
    /// Coverage is full.
    Coverage,
}

/// A freeze under way.
pub struct Freeze {
    /// What was asked for.
    pub options: Options,
    /// The gates and their processes.
    pub session: Session,
    /// The drains.
    pub runs: Vec<Run>,
    /// What is known beside.
    pub evidence: Evidence,
    attempts: u32,
    asked_at: u64,
    listed_at: u64,
    /// What was said meanwhile; printed after the thaw.
    pub notes: Vec<String>,
}

impl Freeze {
    /// Opens, locks, lists. Nothing is held yet.
    pub fn prepare(options: Options) -> Result<Freeze> {
        let asked_at = sys::now_ns();
        let mut notes = Vec::new();
        let mut session =
            Session::open(&options.gates, options.queue_ns, options.users.as_deref(), |note| {
                notes.push(note);
            })?;
        let listed_at = sys::now_ns();
        let evidence = Evidence::gather(&mut session, &options);
        Ok(Freeze {
            options,
            session,
            runs: Vec::new(),
            evidence,
            attempts: 0,
            asked_at,
            listed_at,
            notes,
        })
    }

    /// Raises the barriers and drains, again and again if it must.
    pub fn begin(&mut self) -> Ended {
        let Options { limit_ns, drain_ns, retries, .. } = self.options;
        loop {
            self.evidence.before_closing(&self.options);
            if !self.session.rest(limit_ns) {
                let signal = self.session.signals.came().unwrap_or(libc::SIGTERM);
                return Ended::Interrupted(signal);
            }
            self.attempts += 1;
            let (ended, runs) = self.session.drain(limit_ns, drain_ns);
            self.runs = runs;
            if ended == Ended::Drained {
                let deadline = self.deadline();
                self.evidence.drained(&self.options, deadline);
                return ended;
            }
            if ended != Ended::NotDrained || self.attempts > retries {
                return ended;
            }
            self.notes.push(format!("attempt {} did not drain", self.attempts));
        }
    }

    /// The earliest deadline of all gates.
    pub fn deadline(&self) -> u64 {
        self.runs.iter().map(Run::deadline).min().unwrap_or(0)
    }

    /// The names of all gates.
    pub fn names(&self) -> String {
        self.session.gates.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The barrier words of all gates.
    pub fn deadlines(&self) -> String {
        let words: Vec<_> = self.runs.iter().map(|run| run.deadline().to_string()).collect();
        words.join(",")
    }

    /// Lowers the barriers and judges.
    pub fn thaw(&mut self) -> Vec<Thawed> {
        self.evidence.before_opening(&self.session, &self.options);
        let thawed = self.session.thaw(&mut self.runs);
        self.evidence.after(&mut self.session);
        thawed
    }

    /// The record of a freeze that was thawed.
    pub fn record(&self, thawed: &[Thawed], command: Option<CommandRecord>) -> Record {
        let verdict = |at: usize| match thawed.get(at).map(|t| t.held) {
            Some(Ok(())) => self.evidence.verdict(at, &self.options),
            Some(Err(Broken::Moved)) => Verdict::Escaped,
            Some(Err(Broken::Expired)) => Verdict::Expired,
            None => Verdict::Unproven,
        };
        self.make_record(verdict, |at| thawed.get(at).map_or(0, |t| t.opened_at), command)
    }

    /// The record of a freeze that never stood: everybody gets the same verdict.
    pub fn record_all(&self, verdict: Verdict, command: Option<CommandRecord>) -> Record {
        self.make_record(|_| verdict, |_| 0, command)
    }

    fn make_record(
        &self,
        verdict: impl Fn(usize) -> Verdict,
        opened_at: impl Fn(usize) -> u64,
        command: Option<CommandRecord>,
    ) -> Record {
        let gates: Vec<GateRecord> = (0..self.session.gates.len())
            .map(|at| self.gate_record(at, verdict(at), opened_at(at)))
            .collect();
        for (gate, record) in self.session.gates.iter().zip(&gates) {
            super::stats::add(&gate.dir, &record.line);
        }
        let worst = gates.iter().map(|g| g.line.verdict).max_by_key(|v| v.rank());
        let verdict = worst.unwrap_or(Verdict::NotDrained);
        Record {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            verdict,
            exit: verdict.code(),
            limit_ms: self.options.limit_ns as f64 / 1e6,
            drain_limit_ms: self.options.drain_ns as f64 / 1e6,
            attempts: self.attempts,
            asked: Moment::at(self.asked_at),
            listed: Moment::at(self.listed_at),
            gates,
            command,
            notes: self.notes.clone(),
            token: None,
        }
    }

    fn gate_record(&self, at: usize, verdict: Verdict, opened_at: u64) -> GateRecord {
        let gate = &self.session.gates[at];
        let run = self.runs.get(at);
        let closed_at = run.map_or(0, |run| run.closed_at);
        let ended_at = run.map_or(0, |run| run.ended_at);
        let opened_at = if opened_at == 0 { ended_at } else { opened_at };
        let mut findings = self.evidence.findings(at);
        if verdict == Verdict::Escaped && !findings.iter().any(|f| f.kind == Kind::Escape) {
            findings.push(self.who_passed(at));
        }
        findings.extend(run.map(|run| self.held_with_locks(at, run)).unwrap_or_default());
        let not_drained = matches!(verdict, Verdict::NotDrained | Verdict::CrashConsistent);
        let escapes = findings.iter().filter(|f| f.kind == Kind::Escape).count();
        let members = || self.session.census.alive(at);
        GateRecord {
            line: Line {
                gate: gate.name.clone(),
                verdict,
                coverage: Record::coverage(&findings),
                generation: gate.page.get().freezes.load(Relaxed),
                drain_ns: ended_at.saturating_sub(closed_at),
                held_ns: opened_at.saturating_sub(closed_at),
                procs: members().count(),
                waiters: run.map_or(0, |run| run.waiters),
                admitted: run.map_or(0, |run| run.admitted),
                escaped: escapes as u32,
                openings: run.map_or(0, |run| run.openings),
            },
            deadline: run.map_or(0, Run::deadline),
            closed: Moment::at(closed_at),
            drained: Moment::at(ended_at),
            opened: Moment::at(opened_at),
            processes: members().map(process).collect(),
            blockers: if not_drained {
                run.map(|run| run.blockers.clone()).unwrap_or_default()
            } else {
                Vec::new()
            },
            findings,
        }
    }

    /// Who waited while owning a lock, as the last pass saw it: other programs that
    /// want the lock waited too.
    fn held_with_locks(&self, at: usize, run: &Run) -> Vec<Finding> {
        let held = |place: usize| {
            let threads = run.reading().threads_of(place);
            threads.iter().any(|t| t.word.doing() == gate::word::Doing::Held)
        };
        let members = self.session.census.gates[at].iter().enumerate();
        members
            .filter(|(place, m)| !m.gone && held(*place) && run.reading().holds_of(*place) > 0)
            .map(|(place, m)| Finding {
                kind: Kind::HeldWithLock,
                pid: Some(m.pid),
                program: Some(m.stat.comm.clone()),
                path: None,
                what: format!("was held while it owned {} locks", run.reading().holds_of(place)),
            })
            .collect()
    }

    /// Who passed the closed barrier, as far as it can be told.
    fn who_passed(&self, at: usize) -> Finding {
        let mut overdue = self
            .session
            .census
            .alive(at)
            .filter(|m| m.view.as_ref().is_some_and(|v| v.header().overdue.load(Relaxed) > 0));
        let member = overdue.next();
        Finding {
            kind: Kind::Escape,
            pid: member.map(|m| m.pid),
            program: member.map(|m| m.stat.comm.clone()),
            path: None,
            what: match member {
                Some(_) => "a call passed the closed barrier: it had waited as long as it may",
                None => "a call passed the closed barrier",
            }
            .into(),
        }
    }
}

fn process(member: &super::census::Member) -> Process {
    let flags = member.view.as_ref().map_or(0, |v| v.header().flags.load(Relaxed));
    let named = [
        (region::FLAG_MAPS_SHARED, "shared-mapping"),
        (region::FLAG_AIO, "aio"),
        (region::FLAG_IO_URING, "io_uring"),
        (region::FLAG_LOCKS_UNKNOWN, "locks-unknown"),
        (region::FLAG_CALLS_MISSING, "calls-missing"),
    ];
    let set = named.iter().filter(|(flag, _)| flags & flag != 0);
    Process {
        pid: member.pid,
        program: member.stat.comm.clone(),
        uid: super::procfs::uid(member.pid),
        cannot_hold: set.map(|(_, name)| (*name).into()).collect(),
    }
}
