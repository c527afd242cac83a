//! Waking those that wait at the barrier.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;

/// Wakes every waiter of this word whose bits meet `bits`; how many woke.
pub fn wake(word: &AtomicU64, bits: u32) -> i64 {
    // Waiters sleep on the low half; every architecture we build for is little-endian.
    let low = word.as_ptr().cast::<u32>();
    // SAFETY: `low` is the address of a borrowed word, and FUTEX_WAKE_BITSET neither reads nor
    // writes there.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            low,
            libc::FUTEX_WAKE_BITSET,
            i32::MAX,
            std::ptr::null::<libc::timespec>(),
            std::ptr::null::<u32>(),
            bits,
        )
    }
}
