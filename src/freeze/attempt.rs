//! A freeze under way: prepares it, drains again and again if it must, thaws.

use crate::drive::drain::DrainEnd;
use crate::drive::progress::GateDrain;
use crate::drive::quiet;
use crate::drive::session::Session;
use crate::drive::thaw::Thawed;
use crate::duration::show_ms;
use crate::evidence::gathered::Evidence;
use crate::evidence::to_hold::Whom;
use crate::evidence::wanted::{Require, Wanted};
use crate::freeze::held_beside::{self, HeldBeside};
use crate::freeze::options::Options;
use crate::freeze::places;
use crate::linux::clock;
use crate::outcome::fault::Result;
use crate::outcome::record::QuietWait;

/// A freeze under way.
pub struct Freeze {
    /// What was asked for.
    pub options: Options,
    /// The gates and their processes.
    pub session: Session,
    /// The drains.
    pub drains: Vec<GateDrain>,
    /// What is known beside.
    pub evidence: Evidence,
    /// What is held beside the barriers.
    pub beside: HeldBeside,
    pub(super) attempts: u32,
    pub(super) quiet: Option<QuietWait>,
    quiet_until: u64,
    pub(super) asked_at: u64,
    pub(super) listed_at: u64,
    /// What was said meanwhile; printed after the thaw.
    pub notes: Vec<String>,
}

impl Freeze {
    /// Opens, locks, lists. Nothing is held yet.
    pub fn prepare(options: Options) -> Result<Freeze> {
        let asked_at = clock::now_ns();
        let mut notes = Vec::new();
        let mut session =
            Session::open(&options.gates, options.queue_ns, options.users.as_deref(), |note| {
                notes.push(note);
            })?;
        let listed_at = clock::now_ns();
        let places = places::publish(&mut session, &options.evidence.paths)?;
        let texts = session.gates.iter().map(|gate| gate.page.get().profile_text());
        let hold: Vec<Whom> =
            texts.map(|text| held_beside::wanted(text, &options.evidence)).collect();
        // Who is to be held is told by what speaks against a snapshot, also in a rehearsal.
        let gather = options.evidence.gather || hold.iter().any(|whom| whom.any);
        let wanted = Wanted { gather, ..options.evidence.clone() };
        let evidence = Evidence::gather(&mut session, &wanted, places, hold);
        session.protected = evidence.protected();
        Ok(Freeze {
            options,
            session,
            drains: Vec::new(),
            evidence,
            beside: HeldBeside::default(),
            attempts: 0,
            quiet: None,
            quiet_until: 0,
            asked_at,
            listed_at,
            notes,
        })
    }

    /// Raises the barriers and drains, again and again if it must.
    pub fn begin(&mut self) -> DrainEnd {
        let Options { limit_ns, drain_ns, retries, .. } = self.options;
        loop {
            let signals = &self.session.signals;
            self.evidence.before_closing(&|| signals.received().is_some());
            if self.is_interrupted() {
                return self.interrupted();
            }
            if !self.session.cool_down(limit_ns) {
                return self.interrupted();
            }
            match self.wait_quiet() {
                None => {}
                Some(ended) => return ended,
            }
            self.attempts += 1;
            if let Err(e) = self.start_tracer() {
                self.notes.push(format!("the tracer cannot be started: {e}"));
                return DrainEnd::NotHeld;
            }
            let until = clock::now_ns().saturating_add(drain_ns.min(limit_ns));
            let (ended, drains) = self.session.drain(limit_ns, drain_ns);
            self.drains = drains;
            let ended = match ended {
                DrainEnd::Drained => self.hold_beside(until),
                other => other,
            };
            if ended == DrainEnd::Drained {
                let deadline = self.deadline();
                let unexplained: Vec<_> =
                    self.drains.iter().map(|drain| drain.unexplained.clone()).collect();
                self.evidence.drained(&mut self.session, &unexplained, deadline);
                return ended;
            }
            if ended != DrainEnd::NotDrained || self.attempts > retries {
                return ended;
            }
            self.notes.push(format!("attempt {} did not drain", self.attempts));
        }
    }

    fn interrupted(&mut self) -> DrainEnd {
        DrainEnd::Interrupted(self.session.signals.received().unwrap_or(libc::SIGTERM))
    }

    /// Waits for a quiet moment, if that was asked for. Some: it ends here.
    fn wait_quiet(&mut self) -> Option<DrainEnd> {
        let wait_ns = self.options.wait_quiet_ns;
        if wait_ns == 0 {
            return None;
        }
        if self.quiet_until == 0 {
            self.quiet_until = clock::now_ns().saturating_add(wait_ns);
        }
        let Some(mut seen) = self.session.wait_quiet(self.quiet_until) else {
            return Some(self.interrupted());
        };
        seen.waited_ms += self.quiet.map_or(0.0, |before| before.waited_ms);
        self.quiet = Some(seen);
        self.evidence.refresh(&self.session);
        if seen.reached {
            return None;
        }
        let required = self.options.evidence.requires(Require::Quiet);
        self.notes.push(format!(
            "it did not become quiet within {}: {} sections open and {} calls in flight at the \
             last look (quiet: none, and at most {}); {}",
            show_ms(wait_ns),
            seen.sections,
            seen.calls,
            quiet::CALLS,
            if required { "nothing was held" } else { "went on all the same" }
        ));
        required.then_some(DrainEnd::NotQuiet)
    }

    /// The earliest deadline of all gates.
    pub fn deadline(&self) -> u64 {
        self.drains.iter().map(GateDrain::deadline).min().unwrap_or(0)
    }

    /// The names of all gates.
    pub fn names(&self) -> String {
        self.session.gates.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The barrier words of all gates.
    pub fn deadlines(&self) -> String {
        let words: Vec<_> = self.drains.iter().map(|drain| drain.deadline().to_string()).collect();
        words.join(",")
    }

    /// Lowers the barriers and judges.
    pub fn thaw(&mut self) -> Vec<Thawed> {
        if !self.is_interrupted() {
            self.evidence.before_opening(&self.session);
        }
        if self.is_interrupted() {
            if let Some(tracer) = self.beside.tracer.take() {
                self.let_go(tracer);
            }
            let opened = self.session.open_unjudged();
            self.session.signals.in_hand();
            return opened;
        }
        self.release_beside();
        let thawed = self.session.thaw(&mut self.drains);
        self.evidence.after(&mut self.session);
        thawed
    }

    /// Has a signal come that ends this freeze?
    pub fn is_interrupted(&self) -> bool {
        self.session.signals.received().is_some()
    }
}
