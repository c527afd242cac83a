//! What this process has changed under its locks that no list protects: noted in its region, for
//! the freezer that publishes another list ([`gate::places::in_doubt`]).

use crate::this_process::lock_table::process_word;
use crate::this_process::state::region;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
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
    if !word.passed_by() || places::note(known, word, device) != known {
        note_places(places::passed_by(dev, kind()));
    }
}

/// Notes places as [`places::passed_by`] makes them.
pub fn note_places(places: u64) {
    let Some(region) = region() else { return };
    let (note, process) = (&region.header.passed_by, &region.header.process);
    loop {
        // In this order: a note that is of later locks than the word is not overwritten.
        let known = note.load(Acquire);
        let word = process_word(region);
        if word.locks() == 0 {
            return;
        }
        let next = places::note(known, word, places);
        let noted = note.compare_exchange(known, next, AcqRel, Relaxed).is_ok();
        let said = word.passing_by();
        if noted && process.compare_exchange(word.0, said.0, AcqRel, Relaxed).is_ok() {
            return;
        }
    }
}
