//! Whom the gate cannot hold, stopped at rest beside the barrier (`--hold-ungated`).
//!
//! | when | what |
//! |---|---|
//! | before the barrier | the tracer is started, and told whom |
//! | nothing is in flight any more | who came meanwhile; all are brought to rest |
//! | the command has ended | they are let go, then the barrier is lowered: one that was stopped in the middle of an entry can retract |

use crate::drive::drain::DrainEnd;
use crate::drive::session::Session;
use crate::freeze::attempt::Freeze;
use crate::freeze::held_beside::HeldBeside;
use crate::freeze::hold_end::{HoldEnd, blocker, end_of};
use crate::hold::lock_files::LockFiles;
use crate::hold::owner::{NoAnswer, Tracer};
use crate::hold::protocol::Plan;
use crate::hold::report::Report;
use crate::hold::selection::Selection;
use crate::linux::clock;
use crate::outcome::ledger::Barrier;
use crate::outcome::verdict::Verdict;

/// However long the drain took, they are given so long to come to rest, ns.
const AT_LEAST_NS: u64 = 100_000_000;

impl Freeze {
    /// Starts the tracer, while nothing is held yet. None: there is nobody to be held.
    pub(super) fn start_tracer(&mut self) -> std::io::Result<()> {
        self.beside = HeldBeside::default();
        self.session.held_later = self.evidence.hold.todo.keys().copied().collect();
        if !(0..self.session.gates.len()).any(|at| self.evidence.hold.is_wanted(at)) {
            return Ok(());
        }
        let tracer = Tracer::start(Plan { profile: self.profiles() })?;
        self.session.holds_by(Some(tracer.pid()));
        self.beside.tracer = Some(tracer);
        Ok(())
    }

    /// All gates are drained: brings the others to rest. `until`: give up then.
    pub(super) fn hold_beside(&mut self, until: u64) -> DrainEnd {
        let Some(mut tracer) = self.beside.tracer.take() else { return DrainEnd::Drained };
        self.evidence.look_for_more_to_hold(&mut self.session);
        self.session.held_later = self.evidence.hold.todo.keys().copied().collect();
        let selection = self.whom();
        let deadline = self.deadline();
        let until = until.max(clock::now_ns() + AT_LEAST_NS).min(deadline);
        let lock_files = self.lock_files();
        let Session { helper, signals, .. } = &mut self.session;
        let stop = || signals.received().is_some();
        let answer = tracer.hold(&selection, (until, deadline), (&lock_files, helper), &stop);
        let end = match answer {
            Err(NoAnswer::Stopped) => DrainEnd::Interrupted(self.signal()),
            Err(NoAnswer::Gone) => {
                self.notes.push("the tracer has ended without an answer".into());
                DrainEnd::NotDrained
            }
            Ok(report) => self.came_to_rest(report),
        };
        if end == DrainEnd::Drained {
            self.beside.tracer = Some(tracer);
            return end;
        }
        self.let_go(tracer);
        self.session.open_all();
        end
    }

    /// Those that the profiles name, but for what gated processes have made and account for.
    fn lock_files(&self) -> LockFiles {
        let wanted = (0..self.session.gates.len()).filter(|at| self.evidence.hold.is_wanted(*at));
        let members = wanted.flat_map(|at| self.session.census.alive(at)).map(|member| member.pid);
        let accounted = self.drains.iter().flat_map(|drain| drain.lock_files.iter().copied());
        LockFiles::of_profile(&self.profiles()).beside(members, accounted)
    }

    fn profiles(&self) -> String {
        let texts = self.session.gates.iter().map(|gate| gate.page.get().profile_text());
        texts.collect::<Vec<_>>().join("\n")
    }

    fn came_to_rest(&mut self, mut report: Report) -> DrainEnd {
        for held in &mut report.held {
            held.because =
                self.evidence.hold.todo.get(&held.pid).map(|one| one.because()).unwrap_or_default();
        }
        self.notes.extend(report.failure.clone());
        for drain in &mut self.drains {
            drain.ended_at = report.ended_at;
        }
        let end = match end_of(&report) {
            HoldEnd::AtRest => {
                self.evidence.hold.held(report.held.iter().map(|held| held.pid));
                let members = self.session.census.gates.iter().flatten();
                let gated = members.filter(|member| !member.gone).map(|member| member.pid);
                let left_out = self.evidence.hold.left_out(&gated.collect());
                self.evidence.not_held(&left_out);
                match left_out.is_empty() {
                    true => DrainEnd::Drained,
                    false => DrainEnd::NotHeld,
                }
            }
            HoldEnd::NotHeld => {
                self.evidence.not_held(&report.not_held);
                DrainEnd::NotHeld
            }
            HoldEnd::NotAtRest => {
                for (at, drain) in self.drains.iter_mut().enumerate() {
                    if self.evidence.hold.is_wanted(at) {
                        drain.blockers.extend(report.not_held.iter().map(blocker));
                    }
                }
                DrainEnd::NotDrained
            }
            HoldEnd::Interrupted(signal) => DrainEnd::Interrupted(signal),
        };
        self.beside.report = Some(report);
        end
    }

    /// Who is to be held: whom the gate does not hold with all that descends from it and is not gated,
    /// and who is gated and has a way past the gate.
    fn whom(&self) -> Selection {
        let todo = &self.evidence.hold.todo;
        let members = self.session.census.gates.iter().flatten().filter(|member| !member.gone);
        let of = |gated: bool| {
            todo.iter().filter(move |(_, one)| one.gated == gated).map(|(pid, _)| *pid)
        };
        Selection {
            processes: of(false).collect(),
            descend: true,
            alone: of(true).collect(),
            except: members.map(|member| member.pid).collect(),
            started: todo.iter().map(|(pid, one)| (*pid, one.start)).collect(),
            freezer: std::process::id() as i32,
            ..Selection::default()
        }
    }

    /// Lets them go, before the barrier is lowered.
    pub(super) fn release_beside(&mut self) {
        let Some(mut tracer) = self.beside.tracer.take() else { return };
        self.evidence.hold.about_to_release();
        let released = tracer.release();
        self.let_go(tracer);
        let now = clock::now_ns();
        let (at, fared) = match released {
            Ok(released) => {
                self.evidence.not_held(&released.came);
                match released.at < self.deadline() {
                    true => (released.begun_at, Barrier::Held),
                    false => (released.begun_at, Barrier::Expired),
                }
            }
            // Killed, by its own timer or by another: they ran, and nobody knows since when.
            Err(_) if now >= self.deadline() => (now, Barrier::Expired),
            Err(_) => (now, Barrier::Unknown),
        };
        self.evidence.hold.released(at);
        self.beside.fared = Some(fared);
    }

    /// Ends the tracer; its number may soon be another's.
    pub(super) fn let_go(&self, tracer: Tracer) {
        self.session.holds_by(None);
        drop(tracer);
    }

    /// The verdict where one could not be held.
    pub fn not_held(&self) -> Verdict {
        self.evidence.objection().unwrap_or(Verdict::Ungated)
    }

    fn signal(&self) -> i32 {
        self.session.signals.received().unwrap_or(libc::SIGTERM)
    }
}
