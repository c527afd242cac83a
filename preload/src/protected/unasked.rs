//! Which descriptors a process that has confined itself had before: their files were asked
//! about while that was allowed.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Descriptors that are remembered. What lies beyond is in doubt, as what was opened later.
pub const REMEMBERED: i32 = 1024;

const BITS: usize = u64::BITS as usize;

/// A bit for each descriptor whose file was found not to be protected.
static UNPROTECTED: [AtomicU64; REMEMBERED as usize / BITS] =
    [const { AtomicU64::new(0) }; REMEMBERED as usize / BITS];

fn place(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    UNPROTECTED.get(fd / BITS).map(|word| (word, 1 << (fd % BITS)))
}

/// Asks about all of them, for the last time.
pub fn ask(is_protected: impl Fn(i32) -> bool) {
    for fd in 0..REMEMBERED {
        if let Some((word, bit)) = place(fd)
            && !is_protected(fd)
        {
            word.fetch_or(bit, Relaxed);
        }
    }
}

/// May this descriptor's file be protected, as far as is known?
pub fn may_be_protected(fd: i32) -> bool {
    place(fd).is_none_or(|(word, bit)| word.load(Relaxed) & bit == 0)
}

/// Its number is about to be another file's.
pub fn forget(fd: i32) {
    if let Some((word, bit)) = place(fd) {
        word.fetch_and(!bit, Relaxed);
    }
}

/// So are all.
pub fn forget_all() {
    for word in &UNPROTECTED {
        word.store(0, Relaxed);
    }
}
