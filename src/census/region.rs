//! One process's region, as we see it: mapped through `/proc/PID/map_files`, or a
//! copy that the helper makes afresh before each pass. Read-only either way.

use crate::linux::sys::Mapping;
use gate::region::{Header, SIZE, SLOTS, SLOTS_OFFSET, Slot};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// A region.
#[derive(Debug)]
pub struct MappedRegion {
    map: Mapping,
    /// It is a copy, and as old as the last refresh.
    pub copied: bool,
}

impl MappedRegion {
    /// Maps what the helper has handed over.
    pub fn new(fd: &OwnedFd, copied: bool) -> std::io::Result<MappedRegion> {
        Ok(MappedRegion { map: Mapping::new(fd.as_raw_fd(), SIZE, false)?, copied })
    }

    /// What the process says about itself. Nothing in it is to be believed about
    /// anybody else.
    pub fn header(&self) -> &Header {
        // SAFETY: the mapping is SIZE bytes, page-aligned, and every field may
        // hold any bits.
        unsafe { &*self.map.start().cast::<Header>() }
    }

    /// Its threads' slots, as far as they are used.
    pub fn slots(&self) -> &[Slot] {
        let used = (self.header().slots_used.load(Acquire) as usize).min(SLOTS);
        // SAFETY: SLOTS slots lie behind SLOTS_OFFSET, within SIZE.
        unsafe {
            std::slice::from_raw_parts(self.map.start().add(SLOTS_OFFSET).cast::<Slot>(), used)
        }
    }

    /// Its name.
    pub fn nonce(&self) -> u64 {
        self.header().nonce.load(Relaxed)
    }

    /// Does it announce without the freezer's fence?
    pub fn strong(&self) -> bool {
        self.header().flags.load(Relaxed) & gate::region::FLAG_STRONG != 0
    }
}
