//! Files that were made while we watch, and lately: any user can make more of them than we can keep.

use std::collections::HashSet;
use std::hash::Hash;

/// A set of the latest, at least so many of them as it was told.
pub struct Recent<T> {
    room: usize,
    now: HashSet<T>,
    before: HashSet<T>,
}

impl<T: Hash + Eq> Recent<T> {
    /// With room for so many.
    pub fn new(room: usize) -> Recent<T> {
        Recent { room, now: HashSet::new(), before: HashSet::new() }
    }

    /// Puts one in.
    pub fn insert(&mut self, one: T) {
        if self.now.len() >= self.room {
            self.before = std::mem::take(&mut self.now);
        }
        self.now.insert(one);
    }

    /// Is it one of them?
    pub fn contains(&self, one: &T) -> bool {
        self.now.contains(one) || self.before.contains(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let mut recent = Recent::new(3);
        (0..7).for_each(|one| recent.insert(one));
        assert_eq!((0..7).filter(|one| recent.contains(one)).count(), 4);
        assert!((4..7).all(|one| recent.contains(&one)));
    }
}
