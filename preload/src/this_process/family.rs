//! For the settled rule: the count of changes that this program shares with all that it
//! forks (until they exec).
//!
//! It lies in the region of the family's first process.

use super::profile_flags::applies;
use super::state::Region;
use crate::linux::memory::{PAGE, map_again};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU64};
use gate::profile::Key;

/// Where the count lies; null before this process has a region.
static COUNT: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());
/// What that count was when this process last had everything on record.
static COUNT_AT_RECORD: AtomicU64 = AtomicU64::new(0);

/// This process begins a family: the count lies in its region.
pub fn begin(region: &Region) {
    COUNT.store((&raw const region.header.family).cast_mut(), Release);
}

/// The count.
pub fn count() -> u64 {
    counter().map_or(0, |counter| counter.load(Acquire))
}

/// What the count was when this process last had everything on record.
pub fn count_at_record() -> u64 {
    COUNT_AT_RECORD.load(Relaxed)
}

/// This process has everything on record now.
pub fn all_recorded() {
    COUNT_AT_RECORD.store(count(), Relaxed);
}

fn counter() -> Option<&'static AtomicU64> {
    // SAFETY: null, or a place in the first process's region, or in a second mapping of its
    // first page (`keep`); both stay mapped at their addresses as long as the process lives.
    unsafe { COUNT.load(Acquire).as_ref() }
}

/// A process of this family changes something, or leaves it: what another program
/// changes is counted nowhere.
pub fn changed() {
    if applies(Key::Settled)
        && let Some(counter) = counter()
    {
        counter.fetch_add(1, Release);
    }
}

/// A forked child is about to replace its parent's region by its own: the count must
/// stay within reach. False: it cannot, and the parent's region must stay.
pub fn keep(parent: *mut Region) -> bool {
    if !applies(Key::Settled) {
        return true;
    }
    let at = COUNT.load(Acquire).addr().wrapping_sub(parent.addr());
    // Else it lies in a mapping of its own already: this is a grandchild.
    if at < PAGE {
        let page = map_again(parent.cast(), PAGE);
        if page.is_null() {
            return false;
        }
        COUNT.store(page.wrapping_add(at).cast(), Release);
    }
    // A child has recorded nothing, and nothing that came before is its business.
    all_recorded();
    true
}
