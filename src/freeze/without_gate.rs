//! A freeze without a gate: processes that were never set up are held at rest by the tracer alone.

use crate::evidence::without_gate::WithoutGate;
use crate::freeze::hold_end::{HoldEnd, blocker, end_of};
use crate::freeze::options::Options;
use crate::freeze::record;
use crate::hold::lock_files::LockFiles;
use crate::hold::owner::{self, NoAnswer, Tracer};
use crate::hold::protocol::Plan;
use crate::hold::report::Report;
use crate::hold::selection::Selection;
use crate::linux::clock;
use crate::linux::helper::owner::Helper;
use crate::linux::priority::Priority;
use crate::linux::process::is_there;
use crate::linux::signals::Signals;
use crate::outcome::fault::{Fault, NO_PROCESS, Result};
use crate::outcome::ledger::Barrier;
use crate::outcome::record::{CommandRecord, GateRecord, Moment, Record, VerdictLine};
use crate::outcome::verdict::Verdict;
use crate::places::Places;

/// Between two attempts all run for so long, ns.
const BETWEEN_NS: u64 = 100_000_000;

/// Such a freeze under way.
pub struct Held {
    /// What was asked for; its only gate is the name of what is held.
    pub options: Options,
    /// What may interrupt.
    pub signals: Signals,
    /// How urgently we were run when we were started.
    pub priority: Priority,
    /// What is known beside.
    pub evidence: WithoutGate,
    selection: Selection,
    helper: Helper,
    plan: Plan,
    tracer: Option<Tracer>,
    report: Option<Report>,
    deadline: u64,
    released_at: u64,
    attempts: u32,
    asked_at: u64,
    notes: Vec<String>,
}

impl Held {
    /// Looks which processes there are. Nothing is held yet.
    pub fn prepare(options: Options, selection: Selection, plan: Plan) -> Result<Held> {
        let asked_at = clock::now_ns();
        let priority = Priority::now();
        priority.raise();
        let signals = Signals::block().map_err(Fault::signals)?;
        let listed = selection.list(|_| None);
        let listed = listed.map_err(|e| Fault::io("the processes cannot be listed", &e))?;
        if !listed.iter().any(|pid| is_there(*pid)) {
            let why = "there is no such process, or none but our own: nothing was held";
            return Err(Fault::new(NO_PROCESS, format!("{}: {why}", options.gates.join(","))));
        }
        let mut helper = Helper::new(Vec::new(), Vec::new()).map_err(Fault::of_helper)?;
        let pids: Vec<i32> = listed.into_iter().collect();
        let named = &options.evidence.paths;
        let places = Places::of_processes(&pids, named, &plan.profile, &mut helper);
        if let Some(fault) = places.refusal(&options.gates.join(",")) {
            return Err(fault);
        }
        let evidence = WithoutGate::gather(places);
        Ok(Held {
            options,
            signals,
            priority,
            evidence,
            selection,
            helper,
            plan,
            tracer: None,
            report: None,
            deadline: 0,
            released_at: 0,
            attempts: 0,
            asked_at,
            notes: Vec::new(),
        })
    }

    /// Brings them to rest, again and again if it must.
    pub fn begin(&mut self) -> Result<HoldEnd> {
        loop {
            self.attempts += 1;
            let end = self.attempt()?;
            if end != HoldEnd::NotAtRest || self.attempts > self.options.retries {
                return Ok(end);
            }
            self.notes.push(format!("attempt {} did not bring them to rest", self.attempts));
            clock::sleep_ns(BETWEEN_NS);
        }
    }

    fn attempt(&mut self) -> Result<HoldEnd> {
        let failed = |e| Fault::io("the tracer cannot be started", &e);
        let mut tracer = Tracer::start(self.plan.clone()).map_err(failed)?;
        let pid = tracer.pid();
        self.signals.open_by(Box::new(move || owner::end(pid)));
        let now = clock::now_ns();
        self.deadline = now.saturating_add(self.options.limit_ns);
        let until = now.saturating_add(self.options.drain_ns.min(self.options.limit_ns));
        let lock_files = LockFiles::of_profile(&self.plan.profile);
        let Held { selection, deadline, helper, signals, .. } = self;
        let stop = || signals.received().is_some();
        let answer = tracer.hold(selection, (until, *deadline), (&lock_files, helper), &stop);
        let end = match answer {
            Err(NoAnswer::Stopped) => HoldEnd::Interrupted(self.signal()),
            Err(NoAnswer::Gone) => {
                self.notes.push("the tracer has ended without an answer".into());
                HoldEnd::NotAtRest
            }
            Ok(report) => {
                let end = end_of(&report);
                self.notes.extend(report.failure.clone());
                self.report = Some(report);
                end
            }
        };
        if end == HoldEnd::AtRest {
            self.tracer = Some(tracer);
            self.evidence.held();
        } else {
            self.let_go(tracer);
        }
        if let (HoldEnd::NotHeld, Some(report)) = (end, &self.report) {
            self.evidence.not_held(&report.not_held);
        }
        Ok(end)
    }

    fn let_go(&self, tracer: Tracer) {
        // Its number may soon be another's.
        self.signals.open_by(Box::new(|| {}));
        drop(tracer);
    }

    fn signal(&self) -> i32 {
        self.signals.received().unwrap_or(libc::SIGTERM)
    }

    /// No process is held after this, CLOCK_MONOTONIC ns.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Lets them go, and says how the hold fared.
    pub fn release(&mut self) -> Barrier {
        self.evidence.before_release();
        let Some(mut tracer) = self.tracer.take() else { return Barrier::Unknown };
        let released = tracer.release();
        self.let_go(tracer);
        self.evidence.after();
        match released {
            Ok(released) => {
                self.released_at = released.at;
                self.evidence.not_held(&released.came);
                match released.at < self.deadline {
                    true => Barrier::Held,
                    false => Barrier::Expired,
                }
            }
            // Killed, by its own timer or by another: they ran, and nobody knows since when.
            Err(_) => {
                self.released_at = clock::now_ns();
                match self.released_at >= self.deadline {
                    true => Barrier::Expired,
                    false => Barrier::Unknown,
                }
            }
        }
    }

    /// The verdict of one whose hold fared so.
    pub fn verdict(&self, hold: Barrier) -> Verdict {
        match self.signals.received() {
            Some(_) => Verdict::Interrupted,
            None => self.evidence.ledger.verdict(hold, &self.options.evidence.terms()),
        }
    }

    /// The record.
    pub fn record(&self, verdict: Verdict, command: Option<CommandRecord>) -> Record {
        let name = self.options.gates.join(",");
        let ledger = &self.evidence.ledger;
        let (begun, ended) = self.report.as_ref().map_or((0, 0), |r| (r.begun_at, r.ended_at));
        let opened = if self.released_at == 0 { ended } else { self.released_at };
        let report = self.report.as_ref();
        let at_rest = report.filter(|report| end_of(report) == HoldEnd::AtRest);
        let not_drained = matches!(verdict, Verdict::NotDrained | Verdict::CrashConsistent);
        let in_the_way = report.filter(|_| not_drained).map(|report| report.not_held.as_slice());
        let base = record::never_begun(&name, verdict);
        let gate = GateRecord {
            line: VerdictLine {
                coverage: ledger.coverage(),
                watched: ledger.watched(),
                against: ledger.against(),
                drain_ns: ended.saturating_sub(begun),
                held_ns: opened.saturating_sub(begun),
                openings: report.map_or(0, |report| report.openings),
                admitted: report.map_or(0, |r| r.held.iter().map(|process| process.let_go).sum()),
                at_rest: Some(at_rest.map_or(0, |report| report.held.len())),
                ..base.line
            },
            deadline: self.deadline,
            closed: Moment::at(begun),
            drained: Moment::at(ended),
            opened: Moment::at(opened),
            held_at_rest: report.map(|report| report.held.clone()).unwrap_or_default(),
            blockers: in_the_way.unwrap_or_default().iter().map(blocker).collect(),
            findings: ledger.findings().to_vec(),
            ..base
        };
        let unmet = record::unmet(&gate.line, ledger, &self.options.evidence.terms());
        Record {
            attempts: self.attempts,
            gates: vec![gate],
            command,
            notes: self.notes.iter().cloned().chain(unmet).collect(),
            ..record::blank(&self.options, self.asked_at, verdict)
        }
    }
}
