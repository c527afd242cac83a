//! Looks at processes from a child of our own: whatever takes another process's
//! `mmap_lock` (`maps`, `environ`) hangs, sometimes for good, while that process is
//! stuck on a dead disk. The child then hangs in our stead.

use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Runs `work` in a child; None if it has not answered in time, or died.
pub fn run<T: Serialize + DeserializeOwned>(
    patience: Duration,
    work: impl FnOnce() -> T,
) -> Option<T> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: the kernel has just given them to us.
    let [out, into] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    // SAFETY: this command has one thread here; the child ends by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(out);
        let bytes = serde_json::to_vec(&work()).unwrap_or_default();
        let _ = File::from(into).write_all(&bytes);
        // SAFETY: ends the child without running what belongs to its parent.
        unsafe { libc::_exit(0) };
    }
    drop(into);
    if pid < 0 {
        return None;
    }
    let bytes = read_until(File::from(out), Instant::now() + patience);
    // Either it has ended, or it is stuck in the kernel: never wait for that.
    crate::linux::sys::kill(pid, libc::SIGKILL);
    // SAFETY: the status is not asked for.
    unsafe {
        libc::waitpid(pid, std::ptr::null_mut(), if bytes.is_some() { 0 } else { libc::WNOHANG })
    };
    serde_json::from_slice(&bytes?).ok()
}

/// Everything up to the end; None if the time is over first.
fn read_until(mut from: File, until: Instant) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as i32;
        if !crate::linux::sys::wait_readable(&[from.as_raw_fd()], left) {
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
