//! Namespaces: which one of PIDs a process is in, whether `/proc` is of ours, and whose clock is another.

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

/// Is this process's monotonic clock another than ours (a time namespace with an offset)? `pid` may be
/// `self`: is ours another than the machine's?
pub fn has_other_clock(pid: &str) -> bool {
    let is_of = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let (theirs, ours) = match pid {
        // The offsets that are told are those of the children.
        "self" => (is_of(pid, "time"), is_of(pid, "time_for_children")),
        _ => (is_of(pid, "time"), is_of("self", "time")),
    };
    let as_it_must_be = (theirs == ours) == (pid == "self");
    let offsets = fs::read_to_string(format!("/proc/{pid}/timens_offsets"));
    theirs.is_some()
        && ours.is_some()
        && as_it_must_be
        && offsets.is_ok_and(|text| has_offset(&text))
}

fn has_offset(text: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with("monotonic"))
        .any(|line| line.split_ascii_whitespace().skip(1).any(|number| number.parse() != Ok(0i64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_another() {
        assert!(has_offset("monotonic         1000         0\nboottime 0 0\n"));
        assert!(!has_offset("monotonic         0         0\nboottime 7 0\n"));
        assert!(!has_other_clock("self") && !has_other_clock("1"));
    }

    #[test]
    fn our_own() {
        let me = std::process::id().to_string();
        assert!(own_pid_namespace() != UNKNOWN && pid_namespace(&me) == Some(own_pid_namespace()));
        assert!(proc_shows_us());
        assert_eq!(pid_namespace(&i32::MAX.to_string()), None);
    }
}
