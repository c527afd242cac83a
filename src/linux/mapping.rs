//! Shared memory: a mapping, and safe views of what lies in it.
#![allow(unsafe_code)]

use gate::control::ControlPage;
use gate::region::{Header, Slot};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// May lie in memory that other processes write.
///
/// # Safety
/// Any bits are a valid value, and all that is ever stored to it after it was made is
/// stored through atomics.
pub unsafe trait Shared {}

// SAFETY: all its fields are atomic integers (`LockEntry` consists of them too).
unsafe impl Shared for Header {}
// SAFETY: all its fields are atomic integers.
unsafe impl Shared for Slot {}
// SAFETY: integers and bytes, for which any bits are valid. Those that are not atomic (boot id,
// profile) are written before the file has its name, and never again.
unsafe impl Shared for ControlPage {}

/// A mapping of a whole file, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
    writable: bool,
}

// SAFETY: the memory belongs to no thread; all that is handed out of it to share is atomic, and
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

    /// What lies `offset` bytes from the beginning.
    pub fn view<T: Shared>(&self, offset: usize) -> &T {
        &self.slice(offset, 1)[0]
    }

    /// So many of them, one behind the other, from `offset` on.
    pub fn slice<T: Shared>(&self, offset: usize, count: usize) -> &[T] {
        let end = size_of::<T>().checked_mul(count).and_then(|len| len.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.len), "a view beyond its mapping");
        assert!((self.start as usize + offset).is_multiple_of(align_of::<T>()), "a view askew");
        // SAFETY: `count` values lie within the mapping and are aligned (asserted above), it lives
        // as long as `self`, and `Shared` says that any bits are valid and that what other
        // processes store there is stored through atomics.
        unsafe { std::slice::from_raw_parts(self.start.add(offset).cast::<T>(), count) }
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

    #[test]
    fn a_view_ends_where_its_mapping_does() {
        let file = foreign::anonymous_file(8192).unwrap();
        let mut map = Mapping::new(&file, 8192, true).unwrap();
        map.bytes_mut().unwrap()[4096 + 16] = 7;
        let slots = map.slice::<Slot>(4096, 64);
        assert_eq!((slots.len(), slots[0].tid.load(std::sync::atomic::Ordering::Relaxed)), (64, 7));
        let beyond = std::panic::AssertUnwindSafe(|| map.slice::<Slot>(4096, 65).len());
        assert!(std::panic::catch_unwind(beyond).is_err());
        let askew = std::panic::AssertUnwindSafe(|| map.slice::<Slot>(8, 1).len());
        assert!(std::panic::catch_unwind(askew).is_err());
        assert!(Mapping::new(&file, 8192, false).unwrap().bytes_mut().is_none());
    }
}
