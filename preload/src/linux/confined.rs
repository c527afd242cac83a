//! Which system calls may be made: a filter may kill for one.
//!
//! Nobody can ask what a filter forbids. So, under one that was there at the start, the start
//! makes the calls that the loader has made before it, and does without the others; under one
//! that the process has laid on itself, nothing is called that the program did not ask for.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// No filter is known of.
const FREE: u8 = 0;
/// There was one at the start: a service's, a container's. It lets through what a service needs.
const FROM_BEFORE: u8 = 1;
/// The process has laid one on itself.
pub const BY_ITSELF: u8 = 2;

/// A child has its parent's filters, and its copy of this.
pub static CONFINED: AtomicU8 = AtomicU8::new(FREE);

/// Is there any filter?
#[inline(always)]
pub fn at_all() -> bool {
    CONFINED.load(Relaxed) != FREE
}

/// Has the process laid a filter on itself?
#[inline(always)]
pub fn by_itself() -> bool {
    CONFINED.load(Relaxed) == BY_ITSELF
}

/// The process was started under a filter.
pub fn from_before() {
    CONFINED.store(FROM_BEFORE, Relaxed);
}

/// The process is about to lay a filter on itself; what was known before.
pub fn confine_itself() -> u8 {
    CONFINED.swap(BY_ITSELF, Relaxed)
}

/// It did not come to that.
pub fn as_before(known: u8) {
    CONFINED.store(known, Relaxed);
}
