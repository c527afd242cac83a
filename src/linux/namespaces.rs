//! PID namespaces: which one a process is in, and whether `/proc` is of ours.

use gate::mark::{FIRST, UNKNOWN};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The number of our own.
pub fn own_pid_namespace() -> u64 {
    pid_namespace("self").unwrap_or(UNKNOWN)
}

/// The number of the one that a process is in; none: it is gone, or may not be told.
pub fn pid_namespace(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|meta| meta.ino())
}

/// Are we in the machine's first one?
pub fn is_first_pid_namespace() -> bool {
    own_pid_namespace() == FIRST
}

/// Is `/proc` of the PID namespace that we are in? Else no number in it is the one by which we can
/// ask for that process.
pub fn proc_shows_us() -> bool {
    let me = std::process::id().to_string();
    let Ok(link) = fs::read_link("/proc/self") else { return false };
    let status = fs::read("/proc/self/status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    // One number for each namespace from that of /proc to ours (since Linux 4.1).
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    link.to_str() == Some(&me) && ids.is_none_or(|ids| ids.split_ascii_whitespace().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own() {
        let me = std::process::id().to_string();
        assert!(own_pid_namespace() != UNKNOWN && pid_namespace(&me) == Some(own_pid_namespace()));
        assert!(proc_shows_us());
        assert_eq!(pid_namespace(&i32::MAX.to_string()), None);
    }
}
