//! One process's region, as we see it: mapped through `/proc/PID/map_files`, or a
//! copy that the helper makes afresh before each pass. Read-only either way.

use crate::linux::mapping::Mapping;
use gate::claimed::ClaimedRegion;
use gate::region::{Header, SIZE, Slot};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

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
        Ok(MappedRegion { map: Mapping::new(fd, SIZE, false)?, copied })
    }

    /// As its process claims it to be.
    pub fn claimed(&self) -> ClaimedRegion<'_> {
        ClaimedRegion::of(self.map.foreign()).expect("a header lies in a mapping of SIZE bytes")
    }

    /// What the process says about itself. Nothing in it is to be believed about
    /// another one.
    pub fn header(&self) -> &Header {
        self.claimed().header()
    }

    /// Its threads' slots, as far as they are used.
    pub fn slots(&self) -> &[Slot] {
        self.claimed().slots()
    }

    /// Its name.
    pub fn nonce(&self) -> u64 {
        self.header().nonce.load(Relaxed)
    }

    /// The nonce of the region of the process that forked it; 0: not known.
    pub fn parent_nonce(&self) -> u64 {
        self.header().parent_nonce.load(Relaxed)
    }

    /// Does it announce without the freezer's fence?
    pub fn strong(&self) -> bool {
        self.header().flags.load(Relaxed) & gate::region::FLAG_STRONG != 0
    }
}
