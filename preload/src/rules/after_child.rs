//! A child has ended: the lock files that it has made for this process, and those that it has removed.

use super::{dotlocks, lock_helpers};
use crate::linux::files::lstat_at;
use crate::text::Path;
use crate::this_process::lock_table::shares_memory;
use crate::this_process::mailbox;
use crate::this_process::state::Region;
use core::sync::atomic::Ordering::Relaxed;
use gate::region::FLAG_LOCKS_UNKNOWN;
use linux_raw_sys::general::AT_FDCWD;

/// A child (0: one of libc's own) has ended, well or not: what it has locked for this process, and
/// what it has unlocked.
#[inline(never)]
pub fn lock_files(region: &'static Region, child: i32, well: bool) {
    if shares_memory(region) {
        return;
    }
    if mailbox::is_used() {
        mailbox::take(child, region.header.pid.load(Relaxed), |message| {
            if !well {
                return;
            }
            if message.ino == 0 {
                return lock_helpers::has_ended(region, message);
            }
            let mut path = Path::new();
            path.push(message.text());
            // SAFETY: a `Buffer` always ends with a NUL.
            let stat = unsafe { lstat_at(AT_FDCWD, path.c()) };
            let file = (message.dev, message.ino);
            if let Some(stat) = stat.filter(|stat| (stat.dev, stat.ino) == file) {
                dotlocks::enter_for_child(region, &stat, &path);
            }
        });
    }
    if mailbox::has_lost() {
        region.header.flags.fetch_or(FLAG_LOCKS_UNKNOWN, Relaxed);
    }
    dotlocks::forget_gone(region);
}
