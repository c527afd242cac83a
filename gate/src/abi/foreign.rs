//! Memory that another process writes: claimed, not checked, read once.
//!
//! What lies there may change at any moment and may be a lie. So nothing is borrowed from
//! it but what is [`Shared`]: atomics, whose loads are copies, and plain bytes that are
//! written once, before the magic. A number that says how much there is, is taken
//! at its word only as far as there is room ([`Foreign::some`]).

use super::shared::Shared;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};

/// Readable memory that another process may write meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<'a> {
    start: *const u8,
    len: usize,
    /// As long as it is mapped.
    mapped: PhantomData<&'a u8>,
}

impl<'a> Foreign<'a> {
    /// Of a mapping.
    ///
    /// # Safety
    ///
    /// `len` bytes from `start` are readable for `'a`, and nothing in this process writes
    /// them through a plain reference.
    pub const unsafe fn new(start: *const u8, len: usize) -> Foreign<'a> {
        Foreign { start, len, mapped: PhantomData }
    }

    /// What lies at this place; none if it would not lie within, or not aligned.
    pub fn at<T: Shared>(self, offset: usize) -> Option<&'a T> {
        self.exactly(offset, 1).and_then(<[T]>::first)
    }

    /// So many of them, one behind the other; none if they do not all lie within.
    fn exactly<T: Shared>(self, offset: usize, count: usize) -> Option<&'a [T]> {
        let bytes = count.checked_mul(size_of::<T>())?;
        if offset.checked_add(bytes)? > self.len {
            return None;
        }
        let at = self.start.wrapping_add(offset);
        if !(at as usize).is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `count` of T lie within the mapping, checked just now, aligned, and
        // readable for 'a by `new`'s contract; T is `Shared`: any bits are a T.
        Some(unsafe { core::slice::from_raw_parts(at.cast::<T>(), count) })
    }

    /// As many as another process claims there are, and at most `most`; none of them if
    /// even that many do not lie within.
    pub fn some<T: Shared>(self, offset: usize, claimed: usize, most: usize) -> &'a [T] {
        self.exactly(offset, claimed.min(most)).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

    fn memory() -> [AtomicU64; 4] {
        [1, 2, 3, 4].map(AtomicU64::new)
    }

    fn foreign(words: &[AtomicU64; 4]) -> Foreign<'_> {
        // SAFETY: 32 bytes that are borrowed for as long, atomics throughout.
        unsafe { Foreign::new(words.as_ptr().cast(), 32) }
    }

    #[test]
    fn what_lies_within_and_aligned_is_read() {
        let words = memory();
        let at = |offset| foreign(&words).at::<AtomicU64>(offset).map(|word| word.load(Relaxed));
        assert_eq!((at(0), at(24)), (Some(1), Some(4)));
        assert_eq!((at(25), at(4), at(32), at(usize::MAX - 3)), (None, None, None, None));
        words[3].store(9, Relaxed);
        assert_eq!(at(24), Some(9), "each read looks anew");
    }

    #[test]
    fn a_count_that_lies_gets_what_there_is_room_for() {
        let words = memory();
        let some = |claimed, most| foreign(&words).some::<AtomicU64>(8, claimed, most).len();
        assert_eq!((some(2, 3), some(usize::MAX, 3), some(0, 3)), (2, 3, 0));
        assert_eq!(some(usize::MAX, 4), 0, "the bound itself must lie within");
        assert_eq!(foreign(&words).some::<AtomicU32>(0, 8, usize::MAX).len(), 8);
    }
}
