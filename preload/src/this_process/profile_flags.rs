//! What the profile says of this program, as flags: [`Key::flag`] of each key that holds for it.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use gate::profile::Key;

/// The flags of this program; 0 for nearly all.
pub static PROFILE_FLAGS: AtomicU32 = AtomicU32::new(0);

/// Does this key hold for the program?
#[inline(always)]
pub fn applies(key: Key) -> bool {
    PROFILE_FLAGS.load(Relaxed) & key.flag() != 0
}
