//! What the profile says of this program, as flags.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The flags of this program; 0 for nearly all.
pub static PROFILE_FLAGS: AtomicU32 = AtomicU32::new(0);

/// Sections last until the process waits.
pub const UNTIL_WAIT: u32 = 1 << 0;
/// Sections last until the process ends.
pub const UNTIL_EXIT: u32 = 1 << 7;
/// What is sent to another process of this machine, under a lock, is a change.
pub const HANDS_OVER: u32 = 1 << 6;
/// Creating a file begins no section.
pub const NEW_FILES: u32 = 1 << 1;
/// Writing to some files begins no section.
pub const PARKABLE: u32 = 1 << 2;
/// A write to the locked file completes the set.
pub const RECORD: u32 = 1 << 4;
/// Held some ms before all others.
pub const FIRST: u32 = 1 << 5;
/// Changes and syncs are counted.
pub const SETTLED: u32 = 1 << 3;

/// Does this flag hold for the program?
#[inline(always)]
pub fn applies(flag: u32) -> bool {
    PROFILE_FLAGS.load(Relaxed) & flag != 0
}
