//! The mark on this process's mapping of the page (`gate::mark`): who freezes in another PID
//! namespace is not shown this process, and learns by it that there is one.

use crate::linux::files::{lock_byte_for_reading, stat_at};
use crate::linux::{confined, process};
use core::sync::atomic::Ordering::Relaxed;
use gate::control::ControlPage;
use gate::mark;
use linux_raw_sys::general::AT_FDCWD;

/// The number of this process's PID namespace. By a call that the loader has made already.
pub fn own_namespace() -> u64 {
    // SAFETY: a literal C string.
    let stat = unsafe { stat_at(AT_FDCWD, c"/proc/self/ns/pid".as_ptr().cast()) };
    stat.map_or(mark::UNKNOWN, |stat| stat.ino)
}

/// Marks the page's open file, before it is closed: the mapping keeps the mark.
///
/// Where a filter might kill for it a child does it: the open file, whose the lock is, is one with
/// ours. A kernel that knows no such locks (before Linux 3.15) tells a freezer so too. Where the lock is
/// refused (an AppArmor profile without `k`) the process stays gated: unseen it is as it would be without the gate.
pub fn set(file: i32, control: &ControlPage) {
    let own = own_namespace();
    if !mark::is_marked(own, control.made_in.load(Relaxed)) {
        return;
    }
    let lock = || lock_byte_for_reading(file, mark::place(own));
    if confined::at_all() {
        process::in_a_child(lock);
    } else {
        lock();
    }
}
