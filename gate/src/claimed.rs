//! A region as its process claims it to be: what the freezer reads of it, with bounds.

use crate::abi::Foreign;
use crate::locks::{FileNames, FilePath, Lock};
use crate::region::{Header, NAMES_OFFSET, SLOTS, SLOTS_OFFSET, Slot};
use core::sync::atomic::Ordering::Acquire;

/// Another process's region. Nothing in it is to be believed about any other process.
#[derive(Clone, Copy)]
pub struct ClaimedRegion<'a> {
    memory: Foreign<'a>,
    header: &'a Header,
}

impl<'a> ClaimedRegion<'a> {
    /// In this memory; none if not even a header lies within.
    pub fn of(memory: Foreign<'a>) -> Option<ClaimedRegion<'a>> {
        Some(ClaimedRegion { memory, header: memory.at(0)? })
    }

    /// What the process says about itself: each load is a copy of one word.
    pub fn header(self) -> &'a Header {
        self.header
    }

    /// How many slots it says were ever used, as far as there is room for them.
    pub fn slots_used(self) -> usize {
        (self.header.slots_used.load(Acquire) as usize).min(SLOTS)
    }

    /// Those slots.
    pub fn slots(self) -> &'a [Slot] {
        self.memory.some(SLOTS_OFFSET, self.slots_used(), SLOTS)
    }

    /// The locks it says it holds.
    pub fn locks(self) -> impl Iterator<Item = Lock> + use<'a> {
        self.header.locks.locks()
    }

    /// Where it says that this dotlock lies, if it has kept that.
    pub fn dotlock_path(self, dev: u64, ino: u64) -> Option<FilePath> {
        let (taken, places) = (&self.header.names_taken, self.memory.at(NAMES_OFFSET)?);
        FileNames { taken, places }.get(dev, ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::SIZE;
    use core::sync::atomic::AtomicU64;
    use core::sync::atomic::Ordering::Relaxed;
    use std::vec::Vec;

    /// Aligned as a mapping is, at least for what lies in it.
    #[repr(C, align(64))]
    struct Line([AtomicU64; 8]);

    fn memory() -> Vec<Line> {
        (0..SIZE / 64).map(|_| Line(Default::default())).collect()
    }

    fn claimed(memory: &[Line]) -> ClaimedRegion<'_> {
        // SAFETY: atomics, borrowed for as long, so many bytes.
        let foreign = unsafe { Foreign::new(memory.as_ptr().cast(), size_of_val(memory)) };
        ClaimedRegion::of(foreign).unwrap()
    }

    #[test]
    fn more_slots_than_there_are_is_as_many_as_there_are() {
        let memory = memory();
        let region = claimed(&memory);
        assert_eq!(region.slots().len(), 0);
        region.header().slots_used.store(3, Relaxed);
        assert_eq!(region.slots().len(), 3);
        region.header().slots_used.store(u32::MAX, Relaxed);
        assert_eq!((region.slots_used(), region.slots().len()), (SLOTS, SLOTS));
        let short = claimed(&memory[..SLOTS_OFFSET / 64 + 1]);
        assert_eq!(short.slots().len(), 0, "a mapping too short for what is claimed");
    }

    #[test]
    fn a_mapping_that_is_too_short_has_no_names() {
        let memory = memory();
        let short = claimed(&memory[..NAMES_OFFSET / 64 + 1]);
        assert!(short.dotlock_path(1, 7).is_none());
        assert!(claimed(&memory).dotlock_path(1, 7).is_none(), "none was kept");
    }

    #[test]
    fn what_a_process_says_of_its_locks_is_what_is_read() {
        let memory = memory();
        let region = claimed(&memory);
        assert_eq!(region.locks().count(), 0);
        let names = FileNames {
            taken: &region.header().names_taken,
            places: region.memory.at(NAMES_OFFSET).unwrap(),
        };
        assert!(names.put(1, 7, b"/m/box.lock".iter().copied()));
        assert_eq!(region.dotlock_path(1, 7).unwrap().bytes(), b"/m/box.lock");
        assert!(region.dotlock_path(1, 8).is_none());
    }
}
