//! `--sync`: flushes the protected file systems.
//!
//! For tools that copy what is on the disk and do not flush by themselves (SAN,
//! hypervisor). Once while writers still run, so that little is left; once again
//! when all are held, in a thread of its own, counted against the limit: a
//! flush that hangs must not keep the barrier up.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// Flushes the file systems of these directories, at most for `within`. What went
/// wrong, in words.
pub fn flush(dirs: &[PathBuf], within: Duration) -> Result<(), String> {
    let dirs = dirs.to_vec();
    let (done, result) = mpsc::channel();
    let begun = std::thread::Builder::new().spawn(move || {
        let flushed = dirs.iter().try_for_each(|dir| {
            let file = File::open(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            nix::unistd::syncfs(file)
                .map_err(|e| format!("{}: {}", dir.display(), std::io::Error::from(e)))
        });
        let _ = done.send(flushed);
    });
    if let Err(e) = begun {
        return Err(format!("no thread to flush in: {e}"));
    }
    result.recv_timeout(within).unwrap_or_else(|_| Err("did not end in time".into()))
}
