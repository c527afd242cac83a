//! How many files we may have open: cron, systemd and ssh start us with 1,024, and one handle for
//! each gated process is kept.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;

/// What a kernel allows at most unless it was told otherwise (fs.nr_open).
const KERNEL_MOST: libc::rlim_t = 1 << 20;

/// The limit as it was when we were started.
static AT_START: OnceLock<libc::rlimit> = OnceLock::new();

/// Allows as many as we may: the hard limit, or more where we may raise that.
pub fn allow_most() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is one rlimit for the kernel to fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return;
    }
    let _ = AT_START.set(limit);
    let most = limit.rlim_max.max(KERNEL_MOST);
    let raised = libc::rlimit { rlim_cur: most, rlim_max: most };
    let to_hard = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // What may not be raised shows at the look that fails for it.
    let _ = set(&raised).or_else(|_| set(&to_hard));
}

/// As it was when we were started: for the snapshot command. Only a system call is made: it may
/// stand between fork and exec.
pub fn restore() {
    if let Some(limit) = AT_START.get() {
        let _ = set(limit);
    }
}

fn set(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: `limit` is one rlimit for the kernel to read.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_be_and_back() {
        let now = || {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: `limit` is one rlimit for the kernel to fill.
            unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
            (limit.rlim_cur, limit.rlim_max)
        };
        let (soft, hard) = now();
        allow_most();
        assert!(now().0 >= hard && now().1 >= hard);
        restore();
        assert_eq!(now(), (soft, hard));
    }
}
