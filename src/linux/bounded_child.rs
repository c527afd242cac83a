//! One answer from a child of our own: whatever takes another process's `mmap_lock` (`maps`,
//! `environ`) hangs, sometimes for good, while that process is stuck on a dead disk. The
//! child then hangs in our stead.

use crate::linux::fork;
use crate::linux::poll::wait_readable;
use crate::linux::process;
use nix::fcntl::OFlag;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Runs `work` in a child; None if it has not answered in time, or died.
pub fn run<T: Serialize + DeserializeOwned>(
    patience: Duration,
    work: impl FnOnce() -> T,
) -> Option<T> {
    let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC).ok()?;
    let (out, mut into) = (File::from(out), File::from(into));
    let pid = fork::child(|| {
        fork::keep_only(into.as_fd());
        let bytes = serde_json::to_vec(&work()).unwrap_or_default();
        let _ = into.write_all(&bytes);
    });
    drop(into);
    let pid = pid.ok()?;
    let bytes = read_until(out, Instant::now() + patience);
    // Either it has ended, or it is stuck in the kernel: never wait for that.
    process::abandon_child(pid);
    if bytes.is_some() {
        process::reap_child(pid);
    }
    serde_json::from_slice(&bytes?).ok()
}

/// Everything up to the end; None if the time is over first.
fn read_until(mut from: File, until: Instant) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as u64;
        if !wait_readable(&[from.as_fd()], left) {
            return None;
        }
        let mut part = [0; 65536];
        match from.read(&mut part) {
            Ok(0) => return Some(bytes),
            Ok(len) => bytes.extend_from_slice(&part[..len]),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::time::{Duration, Instant};

    #[test]
    fn an_answer_comes_over_and_a_hang_does_not_hold_us_up() {
        assert_eq!(run(Duration::from_secs(5), || vec![7u8; 200_000]).unwrap().len(), 200_000);
        let begun = Instant::now();
        let none = run(Duration::from_millis(50), || {
            std::thread::sleep(Duration::from_secs(60));
            1
        });
        assert!(none.is_none() && begun.elapsed() < Duration::from_secs(10));
    }
}
