//! The locks that came over an exec.

use crate::kernel_locks::{self, LockOrigin};
use crate::linux::signals::Blocked;
use crate::linux::time::now;
use crate::protected::lifetime_locks::{are_pid_files, is_held_for_life};
use crate::this_process::lock_table::{recount, update};
use crate::this_process::state::{LOCKS_SEEN, region};
use core::sync::atomic::Ordering::Relaxed;
use gate::locks::Table;

/// Locks that were held before the exec are held still (but for those on
/// close-on-exec descriptors). What was done under them is not known, so with
/// such a lock the section counts as open. `below`: all descriptors are smaller, and must be
/// tried one by one.
pub fn take_over(below: Option<u32>) {
    let blocked = Blocked::not_at_the_start();
    match below {
        Some(below) => kernel_locks::enter_below(&blocked, below, LockOrigin::Exec),
        // Where it is not told, the freezer finds what this process does not list.
        None => drop(kernel_locks::enter_all(&blocked, LockOrigin::Exec)),
    }
    if let Some(region) = region()
        && LOCKS_SEEN.load(Relaxed)
    {
        let table = Table(&region.header.locks);
        table.judge(is_held_for_life);
        recount(region);
        region.header.section_since.store(now(), Relaxed);
        let for_life = are_pid_files(table);
        update(region, |word| match word.locks() {
            0 => word,
            _ if for_life => word,
            _ => word.came_over_exec(),
        });
    }
}
