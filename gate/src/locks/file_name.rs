//! Where a dotlock lies: a dotlock is its file, and only the name tells whether that is
//! still there. Another process may have removed it.

use super::entry::LOCKS;
use crate::abi::{constants, shared};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

constants! {
    /// Changes with what the numbers mean.
    pub shape SHAPE;

    /// So many names are kept: one for each place of the lock table. (A page that no name was put
    /// in takes no memory.)
    pub const FILE_NAMES: usize = LOCKS;
    /// Longest path that is kept, in bytes. A dotlock with a longer one lasts until its owner
    /// removes it.
    pub const FILE_NAME_MAX: usize = 1024 - 24;

    const FREE: u32 = 0;
    const USED: u32 = 2;
}

shared! {
    /// The name of one dotlock.
    #[repr(C)]
    pub struct FileName {
        state: AtomicU32,
        len: AtomicU32,
        dev: AtomicU64,
        ino: AtomicU64,
        /// Absolute, as its maker sees it.
        path: [AtomicU8; FILE_NAME_MAX],
    }
}

const _: () = assert!((core::mem::size_of::<FileName>() * FILE_NAMES).is_multiple_of(4096));
const _: () = assert!(FILE_NAMES == u64::BITS as usize);

/// A copy of a path.
#[derive(Clone, Copy, Debug)]
pub struct FilePath {
    bytes: [u8; FILE_NAME_MAX],
    len: usize,
}

impl FilePath {
    /// Its bytes; any bytes at all.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// The names, wherever they lie.
#[derive(Clone, Copy)]
pub struct FileNames<'a> {
    /// A bit for each place that is somebody's: set before it is filled, cleared when it is empty
    /// again. No other place is looked at.
    pub taken: &'a AtomicU64,
    /// The places.
    pub places: &'a [FileName; FILE_NAMES],
}

impl<'a> FileNames<'a> {
    /// Keeps the name of this dotlock. False: there is no room for it.
    pub fn put(self, dev: u64, ino: u64, path: impl Iterator<Item = u8> + Clone) -> bool {
        let len = path.clone().count();
        if len == 0 || len > FILE_NAME_MAX {
            return false;
        }
        // One that had the inode before is gone.
        self.free(dev, ino);
        let Some(name) = self.claim() else { return false };
        name.dev.store(dev, Relaxed);
        name.ino.store(ino, Relaxed);
        name.len.store(len as u32, Relaxed);
        for (to, from) in name.path.iter().zip(path) {
            to.store(from, Relaxed);
        }
        name.state.store(USED, Release);
        true
    }

    fn claim(self) -> Option<&'a FileName> {
        let mut taken = self.taken.load(Relaxed);
        while taken != u64::MAX {
            let at = taken.trailing_ones();
            taken = self.taken.fetch_or(1 << at, Acquire);
            if taken & 1 << at == 0 {
                return self.places.get(at as usize);
            }
        }
        None
    }

    fn of(self, dev: u64, ino: u64) -> impl Iterator<Item = (u64, &'a FileName)> {
        let mut left = self.taken.load(Acquire);
        let next = move || {
            let name = self.places.get(left.trailing_zeros() as usize)?;
            let bit = left & left.wrapping_neg();
            left ^= bit;
            Some((bit, name))
        };
        core::iter::from_fn(next).filter(move |(_, name)| {
            name.state.load(Acquire) == USED
                && name.dev.load(Relaxed) == dev
                && name.ino.load(Relaxed) == ino
        })
    }

    /// That dotlock is gone.
    pub fn free(self, dev: u64, ino: u64) {
        for (bit, name) in self.of(dev, ino) {
            // Of two that free it only one gives the place back.
            if name.state.compare_exchange(USED, FREE, AcqRel, Relaxed).is_ok() {
                self.taken.fetch_and(!bit, Release);
            }
        }
    }

    /// Where it lies, if that was kept, byte by byte.
    pub fn bytes(self, dev: u64, ino: u64) -> Option<impl ExactSizeIterator<Item = u8> + Clone> {
        let (_, name) = self.of(dev, ino).next()?;
        let len = (name.len.load(Relaxed) as usize).min(FILE_NAME_MAX);
        Some(name.path.get(..len).unwrap_or(&[]).iter().map(|byte| byte.load(Relaxed)))
    }

    /// A copy of that.
    pub fn get(self, dev: u64, ino: u64) -> Option<FilePath> {
        let bytes = self.bytes(dev, ino)?;
        let mut path = FilePath { bytes: [0; FILE_NAME_MAX], len: bytes.len() };
        for (to, from) in path.bytes.iter_mut().zip(bytes) {
            *to = from;
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;
    use std::{format, vec};

    struct Room(AtomicU64, Box<[FileName; FILE_NAMES]>);

    impl Room {
        fn new() -> Room {
            // SAFETY: atomics, of which all zero bytes are free places.
            Room(AtomicU64::new(0), unsafe { Box::new_zeroed().assume_init() })
        }

        fn names(&self) -> FileNames<'_> {
            FileNames { taken: &self.0, places: &self.1 }
        }

        fn put(&self, dev: u64, ino: u64, path: &[u8]) -> bool {
            self.names().put(dev, ino, path.iter().copied())
        }

        fn get(&self, dev: u64, ino: u64) -> Option<Vec<u8>> {
            self.names().get(dev, ino).map(|path| path.bytes().to_vec())
        }
    }

    #[test]
    fn a_name_is_kept_until_its_dotlock_is_gone() {
        let room = Room::new();
        assert!(room.put(1, 7, b"/m/\xffbox.lock"));
        assert_eq!(room.get(1, 7).unwrap(), b"/m/\xffbox.lock");
        assert!(room.get(1, 8).is_none() && room.get(2, 7).is_none());
        room.names().free(1, 7);
        assert!(room.get(1, 7).is_none() && room.0.load(Relaxed) == 0);
        assert!(!room.put(1, 7, b"") && !room.put(1, 7, &vec![b'x'; FILE_NAME_MAX + 1]));
        let longest = vec![b'x'; FILE_NAME_MAX];
        assert!(room.put(1, 7, &longest) && room.get(1, 7).unwrap() == longest);
    }

    #[test]
    fn each_place_of_the_lock_table_has_a_name() {
        let room = Room::new();
        let path = |ino: u64| format!("/m/{ino}.lock");
        for ino in 0..FILE_NAMES as u64 {
            assert!(room.put(1, ino, path(ino).as_bytes()));
        }
        assert!(!room.put(1, 99, b"/x.lock"), "more than there is room for");
        for ino in (0..FILE_NAMES as u64).rev() {
            assert_eq!(room.get(1, ino).unwrap(), path(ino).into_bytes());
            room.names().free(1, ino);
        }
        assert!(room.put(1, 99, b"/x.lock"));
    }

    #[test]
    fn an_inode_that_is_used_again_has_the_new_name() {
        let room = Room::new();
        for n in 0..3 * FILE_NAMES {
            let path = format!("/m/{n}.lock");
            assert!(room.put(1, 7, path.as_bytes()), "the old name takes up no room");
            assert_eq!(room.get(1, 7).unwrap(), path.into_bytes());
        }
    }
}
