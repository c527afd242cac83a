//! Which processes are the freezer's own.

use crate::census::list::Census;
use crate::linux::procfs;

/// So far up is climbed at most.
const GENERATIONS: usize = 64;

/// Is it so of this process, or of an ancestor?
pub fn reaches(pid: i32, is_it: impl Fn(i32) -> bool) -> bool {
    let mut at = pid;
    for _ in 0..GENERATIONS {
        if is_it(at) {
            return true;
        }
        match procfs::stat(at) {
            Some(stat) if stat.ppid > 1 => at = stat.ppid,
            _ => return false,
        }
    }
    false
}

/// Our own ancestors and descendants are not the service's.
pub fn is_kin(pid: i32, census: &Census) -> bool {
    reaches(pid, |at| census.ours.contains(&at))
        || reaches(std::process::id() as i32, |at| at == pid)
}
