//! Where a dotlock lies: a dotlock is its file, and only the name tells whether that is
//! still there. Another process may have removed it.

use crate::abi::{constants, shared};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

constants! {
    /// Changes with what the numbers mean.
    pub shape SHAPE;

    /// So many names are kept. A dotlock beyond them lasts until its owner removes it.
    pub const FILE_NAMES: usize = 8;
    /// Longest path that is kept, in bytes.
    pub const FILE_NAME_MAX: usize = 512 - 24;

    const FREE: u32 = 0;
    const CLAIMED: u32 = 1;
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

const _: () = assert!(core::mem::size_of::<FileName>() * FILE_NAMES == 4096);

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
pub struct FileNames<'a>(pub &'a [FileName; FILE_NAMES]);

impl FileNames<'_> {
    /// Keeps the name of this dotlock. False: there is no room for it.
    pub fn put(self, dev: u64, ino: u64, path: &[u8]) -> bool {
        if path.is_empty() || path.len() > FILE_NAME_MAX {
            return false;
        }
        let (claimed, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        let free =
            |name: &&FileName| name.state.compare_exchange(FREE, CLAIMED, claimed, relaxed).is_ok();
        // One that had the inode before is gone.
        self.free(dev, ino);
        let Some(name) = self.0.iter().find(free) else { return false };
        name.dev.store(dev, relaxed);
        name.ino.store(ino, relaxed);
        name.len.store(path.len() as u32, relaxed);
        for (to, from) in name.path.iter().zip(path) {
            to.store(*from, relaxed);
        }
        name.state.store(USED, Ordering::Release);
        true
    }

    fn of(&self, dev: u64, ino: u64) -> impl Iterator<Item = &FileName> {
        self.0.iter().filter(move |name| {
            name.state.load(Ordering::Acquire) == USED
                && name.dev.load(Ordering::Relaxed) == dev
                && name.ino.load(Ordering::Relaxed) == ino
        })
    }

    /// That dotlock is gone.
    pub fn free(self, dev: u64, ino: u64) {
        for name in self.of(dev, ino) {
            name.state.store(FREE, Ordering::Release);
        }
    }

    /// Where it lies, if that was kept.
    pub fn get(self, dev: u64, ino: u64) -> Option<FilePath> {
        let name = self.of(dev, ino).next()?;
        let len = name.len.load(Ordering::Relaxed) as usize;
        let mut path = FilePath { bytes: [0; FILE_NAME_MAX], len: len.min(FILE_NAME_MAX) };
        for (to, from) in path.bytes.iter_mut().zip(&name.path) {
            *to = from.load(Ordering::Relaxed);
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_name_is_kept_until_its_dotlock_is_gone() {
        // SAFETY: atomics, of which all zero bytes are free places.
        let room: std::boxed::Box<[FileName; FILE_NAMES]> =
            unsafe { std::boxed::Box::new_zeroed().assume_init() };
        let names = FileNames(&room);
        assert!(names.put(1, 7, b"/m/\xffbox.lock"));
        assert_eq!(names.get(1, 7).unwrap().bytes(), b"/m/\xffbox.lock");
        assert!(names.get(1, 8).is_none() && names.get(2, 7).is_none());
        names.free(1, 7);
        assert!(names.get(1, 7).is_none());
        assert!(!names.put(1, 7, b"") && !names.put(1, 7, &vec![b'x'; FILE_NAME_MAX + 1]));
        for ino in 0..FILE_NAMES as u64 {
            assert!(names.put(1, ino, b"/x.lock"));
        }
        assert!(!names.put(1, 99, b"/x.lock"), "more than there is room for");
    }
}
