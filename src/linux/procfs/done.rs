//! What a process has done since it was made: `io`, and what `stat` says of its children.

use super::bounded;
use std::io;

/// The line of `io` that counts calls of write and its kin, by all threads, to files, pipes and sockets
/// alike (a child begins with 0; an exec keeps the number).
const WRITES: &str = "syscw: ";
/// The place of `cminflt` in `stat`, after the name: page faults of the children that were waited for. One
/// that has lived has had some.
const FAULTS_OF_CHILDREN: usize = 8;

/// Is it seen to have written nothing since it was made, and to have waited for no child?
pub fn nothing_yet(pid: i32) -> bool {
    let seen = || -> io::Result<bool> {
        let io = bounded::page(&format!("/proc/{pid}/io"))?;
        let stat = bounded::page(&format!("/proc/{pid}/stat"))?;
        Ok(writes(&io) == Some(0) && faults_of_children(&stat) == Some(0))
    };
    seen().unwrap_or(false)
}

fn writes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix(WRITES))?.parse().ok()
}

fn faults_of_children(stat: &str) -> Option<u64> {
    let after_name = stat.get(stat.rfind(')')? + 2..)?;
    after_name.split_ascii_whitespace().nth(FAULTS_OF_CHILDREN)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::clock;
    use std::process::{Child, Command, Stdio};

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn one_that_has_written_or_has_waited_for_a_child_has_done_something() {
        for (script, nothing) in [
            ("exec sleep 9", true),
            ("echo 1; exec sleep 9", false),
            ("/bin/true; exec sleep 9", false),
        ] {
            let mut child = shell(script);
            let pid = child.id() as i32;
            let sleeps =
                || crate::linux::procfs::exe(pid).is_some_and(|exe| exe.ends_with("sleep"));
            while !sleeps() {
                clock::sleep_ns(1_000_000);
            }
            assert_eq!(nothing_yet(pid), nothing, "{script}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(!nothing_yet(i32::MAX), "what cannot be seen");
    }
}
