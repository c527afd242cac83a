//! Whether we were started with stdout and stderr. Rust's runtime opens /dev/null in place of a closed
//! one before `main`, and what is written there is lost without an error: so it is asked before.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn ask() {
    for fd in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: takes numbers only.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            CLOSED.store(true, Relaxed);
        }
    }
}

// SAFETY: `.init_array` holds pointers to functions that the C library calls once before `main`;
// this one makes system calls and stores a flag, and needs nothing of Rust's runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static ASK: extern "C" fn() = ask;

/// Was one of them closed when we were started?
pub fn were_closed() -> bool {
    CLOSED.load(Relaxed)
}
