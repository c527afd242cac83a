//! The freeze lock: one freezer at a time.

use super::dir::check_owner;
use crate::linux::clock;
use crate::linux::file::try_lock;
use crate::outcome::fault::{Fault, NOT_DRAINED, Result};
use crate::outcome::verdict::Verdict;
use nix::fcntl::Flock;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file's name in the gate's directory.
const FILE: &str = "lock";
/// Between two tries.
const RETRY_NS: u64 = 2_000_000;

/// A gate's lock, ours until it is dropped.
#[derive(Debug)]
pub struct FreezeLock(#[expect(dead_code, reason = "held, never asked")] Flock<File>);

impl FreezeLock {
    /// Takes the lock of gate `name` in `dir`; waits for another freezer at most `wait_ns`.
    pub fn take(
        name: &str,
        dir: &Path,
        wait_ns: u64,
        mut interrupted: impl FnMut() -> bool,
    ) -> Result<FreezeLock> {
        let path = dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(|e| Fault::io(format!("cannot open {}", path.display()), &e))?;
        let meta = file.metadata().map_err(|e| Fault::io(path.display(), &e))?;
        check_owner(&path, &meta)?;
        let until = clock::now_ns().saturating_add(wait_ns);
        loop {
            file = match try_lock(file).map_err(|e| Fault::io(path.display(), &e))? {
                Ok(lock) => return Ok(FreezeLock(lock)),
                Err(file) => file,
            };
            if interrupted() {
                return Err(Fault::new(NOT_DRAINED, "interrupted while another freeze ran"));
            }
            if clock::now_ns() >= until {
                let what = format!(
                    "gate {name}: another freeze has held it for all of --queue; \
                     `writegate status -g {name}` shows it. Nothing was held by this one"
                );
                let busy = Some(Verdict::Busy);
                return Err(Fault { verdict: busy, ..Fault::new(NOT_DRAINED, what) });
            }
            clock::sleep_ns(RETRY_NS);
        }
    }

    /// Does another freezer hold the lock in `dir` now? Without rights to look: None.
    pub fn is_taken(dir: &Path) -> Option<bool> {
        let file = OpenOptions::new().read(true).open(dir.join(FILE)).ok()?;
        try_lock(file).ok().map(|taken| taken.is_err())
    }
}
