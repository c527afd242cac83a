//! One freeze from beginning to end, whoever asked for it: `freeze -- CMD`, the
//! keeper, `rehearse`.

pub mod keeper;
pub mod session;
pub mod token;
pub mod wrapped;

use crate::drive::engine::{Ended, Session};
use crate::drive::quiet::{self, Quiet};
use crate::drive::run::Run;
use crate::evidence::Evidence;
use crate::freeze::session::Thawed;
use crate::linux::sys;
use crate::outcome::fault::{Fault, Result};
use crate::outcome::report::{
    CommandRecord, Finding, FindingKind, GateRecord, Moment, Process, Record, SCHEMA,
};
use crate::outcome::verdict::{Verdict, VerdictLine};
use gate::region;
use gate::thaw::Broken;
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
    /// How long to wait for a quiet moment, all attempts together, ns; 0: not at all.
    pub wait_quiet_ns: u64,
    /// Only processes of these users (and root) are waited for; none: all.
    pub users: Option<Vec<u32>>,
    /// Protected directories, as the freezer was told.
    pub paths: Vec<PathBuf>,
    /// Flush the file systems of the protected directories.
    pub sync: bool,
    /// What must have been checked (`fanotify`, `locks`, `coverage`), or have been (`quiet`).
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
    /// It became quiet within --wait-quiet; else nobody is held and no command runs.
    Quiet,
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
    quiet: Option<Quiet>,
    quiet_until: u64,
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
            quiet: None,
            quiet_until: 0,
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
            if !self.session.cool_down(limit_ns) {
                let signal = self.session.signals.came().unwrap_or(libc::SIGTERM);
                return Ended::Interrupted(signal);
            }
            match self.wait_quiet() {
                None => {}
                Some(ended) => return ended,
            }
            self.attempts += 1;
            let (ended, runs) = self.session.drain(limit_ns, drain_ns);
            self.runs = runs;
            if ended == Ended::Drained {
                let deadline = self.deadline();
                self.evidence.drained(&mut self.session, &self.options, deadline);
                return ended;
            }
            if ended != Ended::NotDrained || self.attempts > retries {
                return ended;
            }
            self.notes.push(format!("attempt {} did not drain", self.attempts));
        }
    }

    /// Waits for a quiet moment, if that was asked for. Some: it ends here.
    fn wait_quiet(&mut self) -> Option<Ended> {
        let wait_ns = self.options.wait_quiet_ns;
        if wait_ns == 0 {
            return None;
        }
        if self.quiet_until == 0 {
            self.quiet_until = sys::now_ns().saturating_add(wait_ns);
        }
        let Some(mut seen) = self.session.wait_quiet(self.quiet_until) else {
            return Some(Ended::Interrupted(self.session.signals.came().unwrap_or(libc::SIGTERM)));
        };
        seen.waited_ms += self.quiet.map_or(0.0, |before| before.waited_ms);
        self.quiet = Some(seen);
        self.evidence.refresh(&self.session);
        if seen.reached {
            return None;
        }
        let required = self.options.require.contains(&Require::Quiet);
        self.notes.push(format!(
            "it did not become quiet within {}: {} sections open and {} calls in flight at the \
             last look (quiet: none, and at most {}); {}",
            crate::duration::show_ms(wait_ns),
            seen.sections,
            seen.calls,
            quiet::CALLS,
            if required { "nothing was held" } else { "went on all the same" }
        ));
        required.then_some(Ended::NotQuiet)
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
            crate::gatedir::stats::add(&gate.dir, &record.line);
        }
        let worst = gates.iter().map(|g| g.line.verdict).max_by_key(|v| v.rank());
        let verdict = worst.unwrap_or(Verdict::NotDrained);
        Record {
            attempts: self.attempts,
            quiet: self.quiet,
            locked: Moment::at(self.session.locked_at),
            listed: Moment::at(self.listed_at),
            gates,
            command,
            notes: self.notes.clone(),
            ..blank(&self.options, self.asked_at, verdict)
        }
    }

    /// The record of a freeze that could not even begin, if its end is an outcome and
    /// not a mistake: another one had the gate for too long.
    pub fn never_begun(options: &Options, asked_at: u64, fault: &Fault) -> Option<Record> {
        let verdict = fault.verdict?;
        let gate = |name: &String| GateRecord::never_begun(name.clone(), verdict);
        Some(Record {
            gates: options.gates.iter().map(gate).collect(),
            notes: vec![fault.message.clone()],
            ..blank(options, asked_at, verdict)
        })
    }

    fn gate_record(&self, at: usize, verdict: Verdict, opened_at: u64) -> GateRecord {
        let gate = &self.session.gates[at];
        let run = self.runs.get(at);
        let closed_at = run.map_or(0, |run| run.closed_at);
        let ended_at = run.map_or(0, |run| run.ended_at);
        let opened_at = if opened_at == 0 { ended_at } else { opened_at };
        let mut findings = self.evidence.findings(at);
        if verdict == Verdict::Escaped {
            let seen = findings.iter().any(|f| f.kind == FindingKind::Escape);
            findings.extend(self.who_passed(at, seen));
        }
        findings.extend(run.map(|run| self.held_with_locks(at, run)).unwrap_or_default());
        findings.extend(run.map(|run| run.dotlocks.clone()).unwrap_or_default());
        let not_drained = matches!(verdict, Verdict::NotDrained | Verdict::CrashConsistent);
        let escapes = findings.iter().filter(|f| f.kind == FindingKind::Escape).count();
        let members = || self.session.census.alive(at);
        GateRecord {
            line: VerdictLine {
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
                quiet: self.quiet.map(|quiet| quiet.reached),
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
                kind: FindingKind::HeldWithLock,
                pid: Some(m.pid),
                program: Some(m.stat.comm.clone()),
                path: None,
                what: format!("was held while it owned {} locks", run.reading().holds_of(place)),
            })
            .collect()
    }

    /// Who passed the closed barrier, as far as the words tell. `seen`: something was
    /// seen of it elsewhere.
    fn who_passed(&self, at: usize, seen: bool) -> Option<Finding> {
        let overdue = self.session.census.alive(at).find(|member| member.was_overdue());
        let passed = self.runs.get(at).and_then(|run| self.moved_since(at, run));
        let (member, what) = match (overdue, passed) {
            (Some(member), _) => (Some(member), "it had waited as long as it may".into()),
            (None, Some((member, 0))) => (Some(member), "one that is over".into()),
            (None, Some((member, call))) => (Some(member), gate::calls::name(call).to_string()),
            (None, None) if seen => return None,
            (None, None) => (None, "by whom cannot be told".into()),
        };
        Some(Finding {
            kind: FindingKind::Escape,
            pid: member.map(|m| m.pid),
            program: member.map(|m| m.stat.comm.clone()),
            path: None,
            what: format!("a call passed the closed barrier: {what}"),
        })
    }

    /// Whose word, as the last pass before the thaw saw it, was not what it was when
    /// everybody had come to rest; and its last call.
    fn moved_since(&self, at: usize, run: &Run) -> Option<(&crate::census::Member, u16)> {
        run.drained_words.iter().find_map(|(place, slot, was)| {
            let now = run.reading().threads_of(*place).get(*slot)?.word;
            let moved = now.sequence() != gate::word::ThreadWord(*was).sequence();
            moved.then(|| (&self.session.census.gates[at][*place], now.call()))
        })
    }
}

/// A record of what was asked for, and of nothing that came of it.
fn blank(options: &Options, asked_at: u64, verdict: Verdict) -> Record {
    let ms = |ns: u64| ns as f64 / 1e6;
    Record {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").into(),
        verdict,
        exit: verdict.code(),
        limit_ms: ms(options.limit_ns),
        drain_limit_ms: ms(options.drain_ns),
        queue_limit_ms: ms(options.queue_ns),
        wait_quiet_limit_ms: ms(options.wait_quiet_ns),
        limit_hit: verdict.limit_hit().map(Into::into),
        quiet: None,
        attempts: 0,
        asked: Moment::at(asked_at),
        locked: Moment::default(),
        listed: Moment::default(),
        gates: Vec::new(),
        command: None,
        notes: Vec::new(),
        token: None,
    }
}

impl GateRecord {
    fn never_begun(gate: String, verdict: Verdict) -> GateRecord {
        GateRecord {
            line: VerdictLine::unmeasured(gate, verdict),
            deadline: 0,
            closed: Moment::default(),
            drained: Moment::default(),
            opened: Moment::default(),
            processes: Vec::new(),
            blockers: Vec::new(),
            findings: Vec::new(),
        }
    }
}

fn process(member: &crate::census::Member) -> Process {
    let flags = member.view.as_ref().map_or(0, |v| v.header().flags.load(Relaxed));
    let named = [
        (region::FLAG_MAPS_SHARED, "shared-mapping"),
        (region::FLAG_AIO, "aio"),
        (region::FLAG_IO_URING, "io_uring"),
        (region::FLAG_LOCKS_UNKNOWN, "locks-unknown"),
    ];
    let set = named.iter().filter(|(flag, _)| flags & flag != 0);
    Process {
        pid: member.pid,
        program: member.stat.comm.clone(),
        uid: crate::linux::procfs::uid(member.pid),
        cannot_hold: set.map(|(_, name)| (*name).into()).collect(),
    }
}
