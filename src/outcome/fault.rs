//! An error with its exit code and a message that says what to do.

use crate::outcome::verdict::Verdict;
use std::fmt;

/// The command was not used as it must be.
pub const USAGE: u8 = 64;
/// An escape was seen, or an ungated writer.
pub const ESCAPE: u8 = 65;
/// No gated process.
pub const NOBODY: u8 = 69;
/// Not drained; nothing is held any longer.
pub const NOT_DRAINED: u8 = 75;
/// A stale or foreign token.
pub const TOKEN: u8 = 76;
/// Permission.
pub const PERMISSION: u8 = 77;
/// Configuration: something on disk is not as it must be.
pub const CONFIG: u8 = 78;
/// The limit passed before the thaw.
pub const EXPIRED: u8 = 124;
/// The command to run is not executable.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command to run was not found.
pub const NOT_FOUND: u8 = 127;

/// What went wrong, and the exit code that says so.
#[derive(Debug)]
pub struct Fault {
    /// Exit code.
    pub code: u8,
    /// For the person who reads it.
    pub message: String,
    /// What a record of it says, if it is one of the outcomes of a freeze.
    pub verdict: Option<Verdict>,
}

impl Fault {
    /// A fault with this code and message.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Fault { code, message: message.into(), verdict: None }
    }

    /// A system call that failed: permission or configuration, by its error.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let code = match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => PERMISSION,
            _ => CONFIG,
        };
        Fault::new(code, format!("{what}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// What everything here returns.
pub type Result<T> = std::result::Result<T, Fault>;
