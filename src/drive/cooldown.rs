//! Between freezes the gate rests: until those who waited have passed, and at
//! least as long as it was closed, whoever asks next; but for one limit at most.
//! Else three tools, one after the other, would hold a server up without end.

use crate::drive::barrier;
use crate::drive::engine::{Session, is_stopped, showing};
use crate::drive::pass::Reading;
use crate::linux::sys;
use gate::control::ControlPage;
use gate::word::{Doing, ThreadWord};
use std::sync::atomic::Ordering::Acquire;

/// A barrier that a dead freezer left up is taken down. True if there was one
/// that still held somebody.
pub fn lower_left_behind(page: &ControlPage) -> bool {
    // It may have died between two of them.
    let barrier = page.words().map(|word| word.load(Acquire)).into_iter().max().unwrap_or(0);
    if barrier == 0 {
        return false;
    }
    let now = sys::now_ns();
    barrier::lower(page);
    // Whoever died opened nothing: its lease ended at its deadline, or now.
    page.opened_at.store(barrier.min(now), std::sync::atomic::Ordering::Release);
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
        let begun = sys::now_ns();
        let at_most = begun.saturating_add(limit_ns);
        let pages = self.gates.iter().map(|gate| gate.page.get());
        let until = pages.map(cooldown_until).max().unwrap_or(0).min(at_most);
        while sys::now_ns() < until {
            if self.signals.came().is_some() {
                return false;
            }
            sys::sleep_ns((until - sys::now_ns().min(until)).min(1_000_000));
        }
        // Everybody who shows "held" with the barrier down has been woken, and
        // passes as soon as he is given a processor; so does who asks already.
        let mut waiting = Vec::new();
        for at in 0..self.gates.len() {
            self.refresh(at);
            let mut reading = Reading::default();
            reading.read(&mut self.census.gates[at]);
            let members = self.census.gates[at].len();
            waiting.extend(asking_or_held(&reading, members).into_iter().map(|w| (at, w)));
        }
        while !waiting.is_empty() && sys::now_ns() < at_most {
            if self.signals.came().is_some() {
                return false;
            }
            sys::sleep_ns(200_000);
            self.census.remove_dead();
            for at in 0..self.gates.len() {
                self.refresh(at);
            }
            waiting.retain(|(at, (place, slot, word))| {
                let member = &self.census.gates[*at][*place];
                let slot = member.view.as_ref().and_then(|v| v.slots().get(*slot));
                // Who merely asks again would find the next barrier closed, with a
                // bound that comes from the one before.
                let here = |slot: &gate::region::Slot| ThreadWord(slot.word.load(Acquire));
                slot.is_some_and(|slot| !here(slot).has_moved(ThreadWord(*word)))
                    && !member.gone
                    && !is_stopped(member.pid)
            });
        }
        true
    }
}

fn asking_or_held(reading: &Reading, members: usize) -> Vec<(usize, usize, u64)> {
    showing(reading, members, |doing| matches!(doing, Doing::Asking | Doing::Held))
}
