//! Makes the record of a freeze.

use crate::census::member::Member;
use crate::drive::progress::GateDrain;
use crate::drive::thaw::Thawed;
use crate::freeze::attempt::Freeze;
use crate::freeze::options::Options;
use crate::gatedir::{history, stats};
use crate::linux::procfs;
use crate::outcome::cause::Cause;
use crate::outcome::cause::meaning::FindingKind;
use crate::outcome::fault::Fault;
use crate::outcome::finding::Finding;
use crate::outcome::ledger::{Barrier, Ledger, Terms};
use crate::outcome::record::{
    CommandRecord, GateRecord, Moment, Process, Record, SCHEMA, VerdictLine,
};
use crate::outcome::verdict::Verdict;
use gate::region;
use gate::thaw::Broken;
use std::sync::atomic::Ordering::Relaxed;

impl Freeze {
    /// The record of a freeze that was thawed.
    pub fn record(&self, thawed: &[Thawed], command: Option<CommandRecord>) -> Record {
        let interrupted = self.is_interrupted();
        let verdict = |at: usize| match thawed.get(at).map(|t| t.held) {
            _ if interrupted => Verdict::Interrupted,
            Some(Ok(())) => {
                let fared = self.beside.fared().filter(|_| self.evidence.hold.is_wanted(at));
                self.evidence.verdict(at, fared.unwrap_or(Barrier::Held))
            }
            Some(Err(Broken::Moved)) => self.evidence.verdict(at, Barrier::Moved),
            Some(Err(Broken::Expired)) => self.evidence.verdict(at, Barrier::Expired),
            None => self.evidence.verdict(at, Barrier::Unknown),
        };
        let mut record =
            self.make_record(verdict, |at| thawed.get(at).map_or(0, |t| t.opened_at), command);
        for (at, gate) in record.gates.iter().enumerate() {
            let ledger = self.evidence.ledger(at);
            record.notes.extend(unmet(&gate.line, &ledger, &self.options.evidence.terms()));
        }
        record
    }

    /// The record of a freeze that never stood: all gates get the same verdict.
    pub fn record_all(&self, verdict: Verdict, command: Option<CommandRecord>) -> Record {
        self.make_record(|_| verdict, |_| 0, command)
    }

    /// The record of a freeze that could not even begin, if its end is an outcome and
    /// not a mistake: another one had the gate for too long.
    pub fn never_begun(options: &Options, asked_at: u64, fault: &Fault) -> Option<Record> {
        let verdict = fault.verdict?;
        Some(Record {
            gates: options.gates.iter().map(|name| never_begun(name, verdict)).collect(),
            notes: vec![fault.message.clone()],
            ..blank(options, asked_at, verdict)
        })
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
            stats::add(&gate.dir, &record.line);
            history::add(&gate.dir, &record.line);
        }
        let worst = Verdict::worst(gates.iter().map(|gate| gate.line.verdict));
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

    fn gate_record(&self, at: usize, verdict: Verdict, opened_at: u64) -> GateRecord {
        let gate = &self.session.gates[at];
        let drain = self.drains.get(at);
        let closed_at = drain.map_or(0, |drain| drain.closed_at);
        let ended_at = drain.map_or(0, |drain| drain.ended_at);
        let opened_at = if opened_at == 0 { ended_at } else { opened_at };
        let mut ledger = self.evidence.ledger(at);
        if verdict == Verdict::Escaped {
            let seen = ledger.findings().iter().any(|f| f.kind == FindingKind::Escape);
            ledger.note_all(self.passed(at, seen));
        }
        if let Some(drain) = drain {
            ledger.note_all(self.held_with_locks(at, drain));
            ledger.note_all(drain.dotlocks.iter().cloned());
            ledger.note_all(drain.unexplained.iter().cloned());
        }
        let findings = ledger.findings().to_vec();
        let not_drained = matches!(verdict, Verdict::NotDrained | Verdict::CrashConsistent);
        let escapes = findings.iter().filter(|f| f.kind == FindingKind::Escape).count();
        let members = || self.session.census.alive(at);
        let hold = self.evidence.hold.is_wanted(at);
        GateRecord {
            line: VerdictLine {
                gate: gate.name.clone(),
                verdict,
                coverage: ledger.coverage(),
                watched: ledger.watched(),
                against: ledger.against(),
                generation: gate.page.get().freezes.load(Relaxed),
                drain_ns: ended_at.saturating_sub(closed_at),
                held_ns: opened_at.saturating_sub(closed_at),
                procs: members().count(),
                waiters: drain.map_or(0, |drain| drain.waiters),
                admitted: drain.map_or(0, |drain| drain.admitted),
                escaped: escapes as u32,
                openings: drain.map_or(0, |drain| drain.openings),
                quiet: self.quiet.map(|quiet| quiet.reached),
                at_rest: hold.then(|| self.beside.held().len()),
            },
            deadline: drain.map_or(0, GateDrain::deadline),
            closed: Moment::at(closed_at),
            drained: Moment::at(ended_at),
            opened: Moment::at(opened_at),
            drain_parts: drain.map_or_else(Default::default, |drain| drain.parts),
            processes: members().map(|member| self.process(member, &findings)).collect(),
            held_at_rest: if hold { self.beside.held().to_vec() } else { Vec::new() },
            blockers: match drain {
                Some(drain) if not_drained => drain.blockers.clone(),
                _ => Vec::new(),
            },
            findings,
        }
    }

    /// `findings`: those that stand; what a hold at rest answers stands no more, and the gate cannot hold
    /// it all the same.
    fn process(&self, member: &Member, findings: &[Finding]) -> Process {
        let flags = member.view.as_ref().map_or(0, |v| v.header().flags.load(Relaxed));
        let at_rest = self.evidence.hold.todo.get(&member.pid);
        let answered = at_rest.into_iter().flat_map(|one| one.found.iter().map(|(_, found)| found));
        let maps_shared = findings.iter().filter(|f| f.pid == Some(member.pid)).chain(answered);
        let maps_shared = maps_shared.filter_map(Finding::known).any(|c| *c == Cause::MapsShared);
        let named = [
            (maps_shared, "shared-mapping"),
            (flags & region::FLAG_AIO != 0, "aio"),
            (flags & region::FLAG_IO_URING != 0, "io_uring"),
            (flags & region::FLAG_LOCKS_UNKNOWN != 0, "locks-unknown"),
            (flags & region::FLAG_FOREIGN_CLOCK != 0, "not-held"),
        ];
        let set = named.iter().filter(|(is_so, _)| *is_so);
        Process {
            pid: member.pid,
            program: member.stat.comm.clone(),
            uid: procfs::uid(member.pid),
            cannot_hold: set.map(|(_, name)| (*name).into()).collect(),
        }
    }
}

/// What `--require` asked for and this freeze lacks, where that is its verdict.
pub(super) fn unmet(line: &VerdictLine, ledger: &Ledger, terms: &Terms) -> Vec<String> {
    if line.verdict != Verdict::Unseen {
        return Vec::new();
    }
    let said = |(option, is): (&str, String)| {
        format!(
            "gate {}: --require {option} is not met: {is}. What is missing is said below; mend it, or \
             leave the option out",
            line.gate
        )
    };
    ledger.unmet(terms).into_iter().map(said).collect()
}

/// A record of what was asked for, and of nothing that came of it.
pub(super) fn blank(options: &Options, asked_at: u64, verdict: Verdict) -> Record {
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

pub(super) fn never_begun(gate: &str, verdict: Verdict) -> GateRecord {
    GateRecord {
        line: VerdictLine::unmeasured(gate.into(), verdict),
        deadline: 0,
        closed: Moment::default(),
        drained: Moment::default(),
        opened: Moment::default(),
        drain_parts: Default::default(),
        processes: Vec::new(),
        held_at_rest: Vec::new(),
        blockers: Vec::new(),
        findings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::wanted::{Require, Wanted};

    #[test]
    fn what_was_required_is_said_where_it_is_the_verdict() {
        let line = |verdict| VerdictLine::unmeasured("cyrus".into(), verdict);
        let terms = Wanted { require: vec![Require::Watched], ..Wanted::default() }.terms();
        let said = unmet(&line(Verdict::Unseen), &Ledger::default(), &terms);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("gate cyrus: --require watched is not met: watched=none."));
        assert!(unmet(&line(Verdict::Escaped), &Ledger::default(), &terms).is_empty());
        assert!(unmet(&line(Verdict::Unseen), &Ledger::default(), &Terms::default()).is_empty());
    }

    #[test]
    fn a_freeze_that_never_began_has_a_record_if_its_end_is_an_outcome() {
        let options = Options {
            gates: vec!["a".into(), "b".into()],
            limit_ns: 5_000_000_000,
            drain_ns: 3_000_000_000,
            queue_ns: 2_000_000_000,
            wait_quiet_ns: 1_500_000,
            ..Options::default()
        };
        let mistake = Fault::new(crate::outcome::exit::USAGE, "no such gate");
        assert!(Freeze::never_begun(&options, 7, &mistake).is_none());
        let busy = Fault { verdict: Some(Verdict::Busy), ..Fault::new(75, "another freeze") };
        let record = Freeze::never_begun(&options, 7, &busy).unwrap();
        assert_eq!((record.verdict, record.exit), (Verdict::Busy, 75));
        assert_eq!(record.limit_hit.as_deref(), Some("queue"));
        let limits = (record.limit_ms, record.drain_limit_ms, record.queue_limit_ms);
        assert_eq!((limits, record.wait_quiet_limit_ms), ((5000.0, 3000.0, 2000.0), 1.5));
        assert_eq!(record.asked.monotonic_ns, 7);
        assert_eq!(record.notes, ["another freeze"]);
        let gates: Vec<_> =
            record.gates.iter().map(|gate| (gate.line.gate.as_str(), gate.line.verdict)).collect();
        assert_eq!(gates, [("a", Verdict::Busy), ("b", Verdict::Busy)]);
        assert!(record.gates.iter().all(|gate| gate.findings.is_empty() && gate.deadline == 0));
    }
}
