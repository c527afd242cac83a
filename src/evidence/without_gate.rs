//! The evidence of a freeze without a gate: what the tracer could not hold, and changes that are seen
//! while all are held.

use super::gathered::note_places;
use super::judged::judge_changes;
use super::own::Own;
use super::watch::Watch;
use super::watching::Watching;
use crate::outcome::cause::Cause;
use crate::outcome::finding::Finding;
use crate::outcome::held::NotHeld;
use crate::outcome::ledger::Ledger;
use crate::places::Places;
use std::os::fd::BorrowedFd;

/// What is known of such a freeze.
pub struct WithoutGate {
    /// What was noted.
    pub ledger: Ledger,
    places: [Places; 1],
    watch: Watch,
    own: Own,
}

impl WithoutGate {
    /// Before anything is held.
    pub fn gather(places: Places) -> WithoutGate {
        let mut ledger = Ledger::default();
        note_places(&mut ledger, &places);
        let places = [places];
        let watch = Watch::prepare(&places);
        WithoutGate { ledger, places, watch, own: Own::default() }
    }

    /// All are held: from now on every change is an escape.
    pub fn held(&mut self) {
        if self.places[0].dirs.is_empty() {
            return;
        }
        self.own.listen();
        self.watch.arm(&self.places);
        if self.watch.is_armed() {
            self.ledger.watch_stands();
        }
    }

    /// The command runs now.
    pub fn command_is(&mut self, pid: i32) {
        self.own.command_is(pid);
    }

    /// These were not held.
    pub fn not_held(&mut self, processes: &[NotHeld]) {
        for process in processes {
            let cause = Cause::NotAtRest(process.why.clone());
            let found = match process.pid {
                0 => Finding::from(cause),
                pid => Finding::of(cause, pid, Some(process.program.clone())),
            };
            self.ledger.note(match process.why.file() {
                Some(file) => found.at(file.clone()),
                None => found,
            });
        }
    }

    /// Before they are let go: what is left now is not seen any more.
    pub fn before_release(&mut self) {
        self.take_changes(true);
    }

    fn take_changes(&mut self, is_last: bool) {
        let Self { watch, own, places, .. } = self;
        watch.take(&mut |pid| own.is(pid), places, is_last);
    }

    /// All run again.
    pub fn after(&mut self) {
        judge_changes(&mut self.watch, 0, &self.places[0], &mut self.ledger);
    }
}

impl Watching for WithoutGate {
    fn meanwhile(&mut self) {
        self.own.hear();
        self.take_changes(false);
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.watch.fds().into_iter().chain(self.own.fd()).collect()
    }

    fn urgent_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.watch.urgent_fds()
    }
}
