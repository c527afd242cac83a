//! The descriptor that was judged last, and what of.
//!
//! A program with profile flags may write a message a byte at a time (`putc`), and each byte would
//! be a stat and a look into /proc. So the last answer about a descriptor of a protected file
//! is kept, until a call closes or replaces any descriptor or renames anything: the library
//! sees those. A forked child has the same descriptors and the same answer; one that shares
//! its parent's memory (vfork) has others, so a program that ever made one keeps nothing.

use crate::this_process::state::SHARED_ONCE;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const NOTHING: u64 = 0;
/// The file may be parked.
const PARKABLE: u64 = 1 << 32;
/// Whether it may be is known.
const ASKED: u64 = 1 << 33;

pub static LAST: AtomicU64 = AtomicU64::new(NOTHING);

fn of(fd: i32) -> u64 {
    // Never NOTHING: descriptors are no negative numbers.
    fd as u32 as u64 + 1
}

fn last(fd: i32) -> Option<u64> {
    let known = LAST.load(Relaxed);
    (fd >= 0 && known & (PARKABLE - 1) == of(fd)).then_some(known)
}

/// Was this descriptor's file found to be protected?
pub fn is_protected(fd: i32) -> bool {
    last(fd).is_some()
}

/// It was found to be protected.
pub fn protected(fd: i32) {
    if fd >= 0 && !is_protected(fd) && !SHARED_ONCE.load(Relaxed) {
        LAST.store(of(fd), Relaxed);
    }
}

/// May its file be parked? Asked once.
pub fn parkable(fd: i32, ask: impl FnOnce() -> bool) -> bool {
    match last(fd) {
        Some(known) if known & ASKED != 0 => known & PARKABLE != 0,
        Some(known) => {
            let parkable = ask();
            let answer = if parkable { ASKED | PARKABLE } else { ASKED };
            // Not over what another thread has put there meanwhile.
            let _ = LAST.compare_exchange(known, known | answer, Relaxed, Relaxed);
            parkable
        }
        None => ask(),
    }
}

/// Some descriptor is about to be another file's, or some file to have another name.
pub fn forget() {
    LAST.store(NOTHING, Relaxed);
}
