//! Between freezes the gate stays open: until those that waited have passed, and at
//! least as long as it was closed, whichever freezer asks next; but for one limit at most.
//! Else three tools, one after the other, would hold a server up without end.

use crate::drive::barrier;
use crate::drive::opening::still_shows;
use crate::drive::reading::Reading;
use crate::drive::session::Session;
use crate::linux::clock;
use gate::control::ControlPage;
use gate::word::Doing;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Longest sleep at a time: a signal may come.
const NAP_NS: u64 = 1_000_000;
/// Between two looks at those that waited.
const LOOK_AGAIN_NS: u64 = 200_000;

/// A barrier that a dead freezer left up is taken down. True if there was one
/// that still held a process.
pub fn lower_left_behind(page: &ControlPage) -> bool {
    // It may have died between two of them.
    let barrier = page.words().map(|word| word.load(Acquire)).into_iter().max().unwrap_or(0);
    if barrier == 0 {
        return false;
    }
    let now = clock::now_ns();
    barrier::lower(page);
    // The one that died opened nothing: its lease ended at its deadline, or now.
    page.opened_at.store(barrier.min(now), Release);
    barrier > now
}

/// Until when a gate must stay open because of its last freeze.
pub fn cooldown_until(page: &ControlPage) -> u64 {
    let closed = page.closed_at.load(Acquire);
    let opened = page.opened_at.load(Acquire);
    if closed == 0 || opened <= closed {
        return 0;
    }
    opened.saturating_add(opened - closed)
}

impl Session {
    /// Waits as the last freeze demands, at most `limit_ns`. False: a signal came.
    pub fn cool_down(&mut self, limit_ns: u64) -> bool {
        let begun = clock::now_ns();
        let at_most = begun.saturating_add(limit_ns);
        let pages = self.gates.iter().map(|gate| gate.page.get());
        let until = pages.map(cooldown_until).max().unwrap_or(0).min(at_most);
        while clock::now_ns() < until {
            if self.signals.received().is_some() {
                return false;
            }
            clock::sleep_ns((until - clock::now_ns().min(until)).min(NAP_NS));
        }
        self.await_released(at_most)
    }

    /// Every thread that shows "held" with the barrier down has been woken, and passes as
    /// soon as it is given a processor; so does one that asks already.
    fn await_released(&mut self, at_most: u64) -> bool {
        let mut waiting = Vec::new();
        for at in 0..self.gates.len() {
            self.refresh(at);
            let mut reading = Reading::default();
            reading.read(&mut self.census.gates[at], std::iter::empty());
            let shown = reading.showing(|doing| matches!(doing, Doing::Asking | Doing::Held));
            waiting.extend(shown.into_iter().map(|word| (at, word)));
        }
        while !waiting.is_empty() && clock::now_ns() < at_most {
            if self.signals.received().is_some() {
                return false;
            }
            clock::sleep_ns(LOOK_AGAIN_NS);
            self.census.remove_dead();
            for at in 0..self.gates.len() {
                self.refresh(at);
            }
            waiting.retain(|(at, shown)| still_shows(&self.census.gates[*at][shown.member], shown));
        }
        true
    }
}
