//! Files about which one answer was found: sets that forget.

use crate::hash::spread;
use core::sync::atomic::{AtomicU64, Ordering};

/// Files that were found to be protected, by a hash of device and inode. Only
/// this answer may be remembered: it stays the safe one.
pub static PROTECTED: Remembered = Remembered::new();
/// Lock files that were found not to be held for life, likewise.
pub static FOR_A_TIME: Remembered = Remembered::new();

/// Files that this process made to link them to a lock's name; one that is forgotten is removed
/// like any file.
pub static HITCHING_POSTS: Remembered = Remembered::new();

/// A set that forgets: one place for each value of some bits of the hash.
pub struct Remembered([AtomicU64; 64]);

impl Remembered {
    const fn new() -> Self {
        Remembered([const { AtomicU64::new(0) }; 64])
    }

    fn key(dev: u64, ino: u64) -> u64 {
        spread(dev.rotate_left(40) ^ ino) | 1
    }

    /// Was it put in, and not pushed out since?
    pub fn has(&self, dev: u64, ino: u64) -> bool {
        let key = Self::key(dev, ino);
        self.0.get((key >> 58) as usize).is_some_and(|place| place.load(Ordering::Relaxed) == key)
    }

    /// Puts it in.
    pub fn put(&self, dev: u64, ino: u64) {
        let key = Self::key(dev, ino);
        if let Some(place) = self.0.get((key >> 58) as usize) {
            place.store(key, Ordering::Relaxed);
        }
    }
}
