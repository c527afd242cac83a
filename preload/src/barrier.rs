//! The barrier as this process sees it, the right to pass it, and waiting at it.

use crate::clock;
use crate::linux::process::{now, wait_on};
use crate::this_process::lock_table::process_word;
use crate::this_process::state::{BARRIER_AT_START, EXPIRED_BARRIER, Region, control};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use gate::entry::{Enclosing, Look, Patience, may_pass};
use gate::word::ProcessWord;

/// The process word as it gives a right to pass: not by a section that came over an
/// exec under this very barrier.
pub fn right_to_pass(process: ProcessWord, barrier: u64) -> ProcessWord {
    if barrier != 0 && barrier == BARRIER_AT_START.load(Relaxed) {
        return ProcessWord::default();
    }
    process
}

/// Sleeps until something has changed for this call: also when another thread has
/// opened the section that both are in.
pub fn wait(word: &AtomicU64, region: &Region, seen: u64, patience: &mut Patience) {
    let header = &region.header;
    let bits = 1u32 << (header.nonce.load(Relaxed) % 31) | 1 << 31;
    loop {
        wait_on(word, seen, bits);
        let barrier = word.load(Acquire);
        let process = right_to_pass(process_word(region), barrier);
        let may = may_pass(process, admitted(region), Enclosing::Nothing);
        if barrier != seen || may || look(patience, barrier) != Look::Closed {
            return;
        }
    }
}

/// The barrier as this process sees it: a deadline that has passed once is over
/// for good, without a look at the clock.
pub fn look(patience: &mut Patience, barrier: u64) -> Look {
    if barrier != 0 && barrier == EXPIRED_BARRIER.load(Relaxed) {
        return Look::LeaseOver;
    }
    let look = patience.look(barrier, now);
    match look {
        Look::LeaseOver => EXPIRED_BARRIER.store(barrier, Relaxed),
        Look::Closed if clock::is_foreign() => return Look::LeaseOver,
        _ => {}
    }
    look
}

/// Has the freezer admitted this process through the closed barrier?
pub fn admitted(region: &Region) -> bool {
    let header = &region.header;
    control().is_some_and(|control| {
        control.admits(header.nonce.load(Relaxed), header.lock_sequence.load(Acquire))
    })
}
