//! What this process has changed under its locks that no list protects: noted in its region, for
//! the freezer that publishes another list ([`gate::places::in_doubt`]).

use crate::this_process::lock_table::{process_word, update};
use crate::this_process::state::region;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};
use gate::places::{self, Kind};

/// Notes one file that is about to be changed. The thread's word announces the change still, so
/// that there is no moment at which neither shows.
pub fn note(dev: u64, kind: impl FnOnce() -> Kind) {
    let Some(region) = region() else { return };
    let word = process_word(region);
    if word.locks() == 0 || word.section_open() && !word.would_begin() {
        return;
    }
    // The kind is asked for once: the device alone tells most of what is noted again.
    let known = region.header.passed_by.load(Relaxed);
    let device = places::passed_by(dev, Kind::Memory);
    if !word.passed_by() || known & device != device {
        note_bits(places::passed_by(dev, kind()));
    }
}

/// Notes places that are known already as bits.
pub fn note_bits(bits: u64) {
    let Some(region) = region().filter(|region| process_word(region).locks() > 0) else { return };
    region.header.passed_by.fetch_or(bits, AcqRel);
    update(region, |word| if word.locks() > 0 { word.passing_by() } else { word });
}
