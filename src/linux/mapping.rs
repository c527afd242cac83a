//! Shared memory: a mapping, to be read as memory that another process writes.
#![allow(unsafe_code)]

use gate::abi::Foreign;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A mapping of a whole file, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
    writable: bool,
}

// SAFETY: the memory belongs to no thread; all that is handed out of it to share is `Foreign`, and
// `bytes_mut` wants the mapping for itself.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of a file from its beginning, shared.
    pub fn new(file: impl AsFd, len: usize, writable: bool) -> io::Result<Mapping> {
        Mapping::with(file, len, writable, libc::MAP_SHARED)
    }

    /// The same to look at only, in a way that does not look like a gated process:
    /// those map their control page shared. It shows what is stored later, too.
    pub fn to_look_at(file: impl AsFd, len: usize) -> io::Result<Mapping> {
        Mapping::with(file, len, false, libc::MAP_PRIVATE)
    }

    /// Shared memory without a file.
    pub fn anonymous(len: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: without MAP_FIXED the kernel puts it where nothing is yet.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), len, writable: true })
    }

    fn with(file: impl AsFd, len: usize, writable: bool, flags: i32) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: without MAP_FIXED the kernel puts it where nothing is yet.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), len, writable })
    }

    /// Where it lies, to find it in `/proc/self/maps`.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// To read, where another process writes.
    pub fn foreign(&self) -> Foreign<'_> {
        // SAFETY: `len` bytes from `start` stay mapped and readable until `self` is dropped, and
        // `bytes_mut`, the one plain reference that this process writes through, wants `self` for
        // itself.
        unsafe { Foreign::new(self.start, self.len) }
    }

    /// Its bytes, to be written by the kernel; none if it was mapped to be read.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        // SAFETY: `len` bytes are mapped and writable, and in this process they are reached through
        // `self` alone, which is borrowed for as long as the slice is.
        self.writable.then(|| unsafe { std::slice::from_raw_parts_mut(self.start, self.len) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `with`, with this length; every view borrows `self` and is gone.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::foreign;
    use gate::region::Slot;

    #[test]
    fn what_the_kernel_writes_is_read_and_nothing_beyond_the_end() {
        let file = foreign::anonymous_file(8192).unwrap();
        let mut map = Mapping::new(&file, 8192, true).unwrap();
        map.bytes_mut().unwrap()[4096 + 16] = 7;
        let slots = map.foreign().some::<Slot>(4096, 64, 64);
        assert_eq!((slots.len(), slots[0].tid.load(std::sync::atomic::Ordering::Relaxed)), (64, 7));
        assert_eq!(map.foreign().some::<Slot>(4096, 65, 65).len(), 0);
        assert!(map.foreign().at::<Slot>(8192 - 64).is_some());
        assert!(map.foreign().at::<Slot>(8192 - 63).is_none());
        assert!(Mapping::new(&file, 8192, false).unwrap().bytes_mut().is_none());
    }
}
