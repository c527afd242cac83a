//! A region as its process claims it to be: what the freezer reads of it, with bounds.

use crate::abi::Foreign;
use crate::locks::{Lock, LockEntry};
use crate::region::{DOTLOCK_PATH, Header, SLOTS, SLOTS_OFFSET, Slot};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

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
        self.header.locks.iter().filter_map(LockEntry::get)
    }

    /// The path of the dotlock that it made last, if that is this one and its path was kept.
    pub fn dotlock_path(self, ino: u64) -> Option<DotlockPath> {
        let len = self.header.dotlock_len.load(Acquire) as usize;
        let same = self.header.dotlock_ino.load(Relaxed) == ino;
        if !same || len == 0 || len > DOTLOCK_PATH {
            return None;
        }
        let mut bytes = [0; DOTLOCK_PATH];
        for (to, from) in bytes.iter_mut().zip(&self.header.dotlock_path) {
            *to = from.load(Relaxed);
        }
        Some(DotlockPath { bytes, len })
    }
}

/// A copy of a path.
#[derive(Clone, Copy, Debug)]
pub struct DotlockPath {
    bytes: [u8; DOTLOCK_PATH],
    len: usize,
}

impl DotlockPath {
    /// Its bytes; any bytes at all.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::SIZE;
    use core::sync::atomic::AtomicU64;
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
    fn a_path_is_as_long_as_it_says_if_there_is_room() {
        let memory = memory();
        let region = claimed(&memory);
        let header = region.header();
        header.dotlock_ino.store(7, Relaxed);
        header.dotlock_path[0].store(b'/', Relaxed);
        header.dotlock_path[1].store(0xff, Relaxed);
        let path = |ino| region.dotlock_path(ino).map(|path| path.bytes().to_vec());
        assert_eq!(path(7), None, "no length: not known");
        header.dotlock_len.store(2, Relaxed);
        assert_eq!((path(7), path(8)), (Some(b"/\xff".to_vec()), None));
        header.dotlock_len.store(DOTLOCK_PATH as u32 + 1, Relaxed);
        assert_eq!(path(7), None);
    }
}
