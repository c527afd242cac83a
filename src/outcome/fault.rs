//! An error with its exit code and a message that says what to do.

pub use crate::outcome::exit::{
    CONFIG, ESCAPE, NO_PROCESS, NOT_DRAINED, NOT_EXECUTABLE, NOT_FOUND, PERMISSION, TOKEN, USAGE,
};
use crate::outcome::verdict::Verdict;
use std::fmt;

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
        Fault::new(code, format!("{what}: {error}{}", too_many(error)))
    }

    /// A helper that could not be had.
    pub fn of_helper(error: std::io::Error) -> Self {
        Fault::new(CONFIG, format!("{error}{}", too_many(&error)))
    }

    /// Without signals that can be asked for there is no freeze and no screen.
    pub fn signals(error: std::io::Error) -> Self {
        Fault::new(CONFIG, format!("cannot hold signals back: {error}{}", too_many(&error)))
    }
}

/// What to do where no process or thread could be made; nothing for another error.
pub fn too_many(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            ". There are as many processes and threads as are allowed: end some, or raise the limit (ulimit -u, \
             TasksMax= of the unit, sysctl kernel.pid_max)"
        }
        _ => "",
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn what_is_for_want_of_rights_exits_so_and_all_else_is_configuration() {
        let fault = |errno| Fault::io("cannot open /run/x", &Error::from_raw_os_error(errno));
        for errno in [libc::EACCES, libc::EPERM, libc::EROFS] {
            assert_eq!(fault(errno).code, PERMISSION, "{errno}");
        }
        for errno in [libc::ENOENT, libc::ENOSPC, libc::EMFILE, libc::EIO] {
            assert_eq!(fault(errno).code, CONFIG, "{errno}");
        }
        assert_eq!(Fault::io("x", &Error::other("y")).code, CONFIG);
        let said = fault(libc::ENOENT).to_string();
        assert!(said.starts_with("cannot open /run/x: No such file"), "{said}");
        assert_eq!(fault(libc::ENOENT).verdict, None);
    }

    #[test]
    fn where_there_are_too_many_processes_it_is_said_what_to_do() {
        let said = |errno| too_many(&Error::from_raw_os_error(errno));
        assert!(said(libc::EAGAIN).contains("ulimit -u"));
        assert_eq!(said(libc::ENOMEM), "");
    }
}
