//! Which descriptors a process that has confined itself had before: their files were asked
//! about while that was allowed.

use super::passed_by;
use crate::linux::files::fstat;
use crate::this_process::state::control;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use gate::places::{self, Kind};

/// Descriptors that are remembered. What lies beyond is in doubt, as what was opened later.
pub const REMEMBERED: i32 = 1024;

const BITS: usize = u64::BITS as usize;

/// A bit for each descriptor.
type Descriptors = [AtomicU64; REMEMBERED as usize / BITS];

/// Those whose file was found not to be protected, ...
static UNPROTECTED: Descriptors = [const { AtomicU64::new(0) }; REMEMBERED as usize / BITS];
/// ... because of where it lies: another list may protect it.
static BY_PLACE: Descriptors = [const { AtomicU64::new(0) }; REMEMBERED as usize / BITS];
/// The list that they were held against.
static LIST: AtomicU64 = AtomicU64::new(0);
/// Where they all lie ([`places::passed_by`]).
static PLACES: AtomicU64 = AtomicU64::new(0);

fn place(of: &'static Descriptors, fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    of.get(fd / BITS).map(|word| (word, 1 << (fd % BITS)))
}

fn list() -> u64 {
    control().map_or(0, |page| page.places.generation())
}

/// Asks about all of them, for the last time.
pub fn ask(is_protected: impl Fn(i32) -> bool) {
    LIST.store(list(), Relaxed);
    for fd in 0..REMEMBERED {
        if is_protected(fd) {
            continue;
        }
        if let Some((word, bit)) = place(&UNPROTECTED, fd) {
            word.fetch_or(bit, Relaxed);
        }
        let Some(stat) = fstat(fd).filter(|stat| stat.is_file_or_directory()) else { continue };
        if let Some((word, bit)) = place(&BY_PLACE, fd) {
            word.fetch_or(bit, Relaxed);
        }
        PLACES.fetch_or(places::passed_by(stat.dev, Kind::Storage), Relaxed);
    }
}

/// May this descriptor's file be protected, as far as is known?
pub fn may_be_protected(fd: i32) -> bool {
    let is_in = |of| place(of, fd).is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0);
    if !is_in(&UNPROTECTED) {
        return true;
    }
    if is_in(&BY_PLACE) {
        if list() != LIST.load(Relaxed) {
            return true;
        }
        passed_by::note_places(PLACES.load(Relaxed));
    }
    false
}

/// Its number is about to be another file's.
pub fn forget(fd: i32) {
    if let Some((word, bit)) = place(&UNPROTECTED, fd) {
        word.fetch_and(!bit, Relaxed);
    }
}

/// So are all.
pub fn forget_all() {
    for word in &UNPROTECTED {
        word.store(0, Relaxed);
    }
}
