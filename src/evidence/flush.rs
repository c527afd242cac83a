//! `--sync`: flushes the protected file systems.
//!
//! For tools that copy what is on the disk and do not flush by themselves (SAN,
//! hypervisor). Once while writers still run, so that little is left; once again
//! when all are held, in a thread of its own, counted against the limit: a
//! flush that hangs must not keep the barrier up.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often it is asked meanwhile whether to go on.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// Flushes the file systems of these directories, at most for `within`, or until `stop`. What
/// went wrong, in words.
pub fn flush(
    dirs: &[(PathBuf, Arc<File>)],
    within: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<(), String> {
    let dirs = dirs.to_vec();
    let (done, result) = mpsc::channel();
    let begun = std::thread::Builder::new().spawn(move || {
        let flushed = dirs.iter().try_for_each(|(dir, file)| {
            nix::unistd::syncfs(file)
                .map_err(|e| format!("{}: {}", dir.display(), std::io::Error::from(e)))
        });
        let _ = done.send(flushed);
    });
    if let Err(e) = begun {
        return Err(format!("no thread to flush in: {e}"));
    }
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match result.recv_timeout(left.min(ASKED_EVERY)) {
            Ok(flushed) => return flushed,
            Err(RecvTimeoutError::Timeout) if !left.is_zero() && !stop() => {}
            Err(_) => return Err("did not end in time".into()),
        }
    }
}
