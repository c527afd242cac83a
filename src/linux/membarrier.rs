//! How gated processes' plain stores are made visible.
#![allow(unsafe_code)]

use libc::{MEMBARRIER_CMD_GLOBAL, MEMBARRIER_CMD_GLOBAL_EXPEDITED, MEMBARRIER_CMD_QUERY};
use std::sync::atomic::{Ordering, fence};

/// How this kernel can make every gated process's plain stores visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membarrier {
    /// MEMBARRIER_CMD_GLOBAL_EXPEDITED: µs, for registered processes.
    Expedited,
    /// MEMBARRIER_CMD_GLOBAL: ms, for all.
    Global,
    /// Neither: only regions that announce by `xchg` can be read safely.
    None,
}

fn call(command: libc::c_int) -> i64 {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

impl Membarrier {
    /// What there is.
    pub fn find() -> Membarrier {
        match call(MEMBARRIER_CMD_QUERY) {
            bits if bits < 0 => Membarrier::None,
            bits if bits & MEMBARRIER_CMD_GLOBAL_EXPEDITED as i64 != 0 => Membarrier::Expedited,
            bits if bits & MEMBARRIER_CMD_GLOBAL as i64 != 0 => Membarrier::Global,
            _ => Membarrier::None,
        }
    }

    /// Issues it; false if it failed.
    pub fn fence(self) -> bool {
        fence(Ordering::SeqCst);
        let ok = match self {
            Membarrier::Expedited => call(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0,
            Membarrier::Global => call(MEMBARRIER_CMD_GLOBAL) == 0,
            Membarrier::None => true,
        };
        fence(Ordering::SeqCst);
        ok
    }
}
