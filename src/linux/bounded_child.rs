//! Work in a child that has a time limit: whatever takes another process's `mmap_lock`
//! (`maps`, `environ`) hangs, sometimes for good, while that process is stuck on a dead
//! disk. The child then hangs in our stead.

use super::sys;
use nix::fcntl::OFlag;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, fork, pipe2};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Runs `work` in a child; None if it has not answered in time, or died.
pub fn run<T: Serialize + DeserializeOwned>(
    patience: Duration,
    work: impl FnOnce() -> T,
) -> Option<T> {
    let (out, into) = pipe2(OFlag::O_CLOEXEC).ok()?;
    // SAFETY: only the doctor calls this, and starts no thread: no lock of another
    // thread is left locked in the child. The child ends by _exit.
    let child = match unsafe { fork() }.ok()? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(out);
            let bytes = serde_json::to_vec(&work()).unwrap_or_default();
            let _ = File::from(into).write_all(&bytes);
            // SAFETY: takes a number and does not return; the parent's exit handlers
            // and buffers, of which the child has copies, are not run and not flushed.
            unsafe { libc::_exit(0) };
        }
    };
    drop(into);
    let bytes = read_until(File::from(out), Instant::now() + patience);
    // Either it has ended, or it is stuck in the kernel: never wait for that.
    sys::kill(child.as_raw(), libc::SIGKILL);
    let _ = waitpid(child, if bytes.is_some() { None } else { Some(WaitPidFlag::WNOHANG) });
    serde_json::from_slice(&bytes?).ok()
}

/// Everything up to the end; None if the time is over first.
fn read_until(mut from: File, until: Instant) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as i32;
        if !sys::wait_readable(&[from.as_raw_fd()], left) {
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
