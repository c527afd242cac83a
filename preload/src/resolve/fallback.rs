//! Calls that the process's libc lacks.
//!
//! The library exports every name of the table, so a program that looks one up
//! (`dlsym`, a weak symbol) finds it under the preload though its libc has none.
//! It gets what the newer libc would do, by the system call itself, or an answer
//! that makes it take its own way round.

use super::libc::set_errno;
use crate::arch::instructions::syscall;
use crate::linux::descriptors::close_from;
use core::ffi::c_int;
use linux_raw_sys::errno::ENOSYS;
use linux_raw_sys::general::{
    __NR_close_range, __NR_execveat, __NR_openat2, __NR_pwritev2, __NR_renameat2,
};

type Arguments = (u64, u64, u64, u64, u64, u64);

/// What stands for the name; never null.
pub fn of(name: &str) -> usize {
    match name {
        "closefrom" => closefrom as *const () as usize,
        "close_range" => close_range as *const () as usize,
        "openat2" => openat2 as *const () as usize,
        "renameat2" => renameat2 as *const () as usize,
        "execveat" => execveat as *const () as usize,
        "pwritev2" => pwritev2 as *const () as usize,
        // These return the error.
        "pidfd_spawn" | "pidfd_spawnp" => no_such_spawn as *const () as usize,
        "dlsym" | "dlvsym" => finds_nothing as *const () as usize,
        _ => missing as *const () as usize,
    }
}

/// Is this a real function, or one of ours?
pub fn is_missing(address: usize) -> bool {
    address == missing as *const () as usize
}

unsafe extern "C" fn missing() -> isize {
    set_errno(ENOSYS as c_int);
    -1
}

unsafe extern "C" fn no_such_spawn() -> c_int {
    ENOSYS as c_int
}

/// `void *dlsym(...)`, found by a weak reference where there is none.
unsafe extern "C" fn finds_nothing() -> *const () {
    core::ptr::null()
}

/// Passes arguments on to the kernel, which checks them; errno untouched.
fn ask(number: u32, (a, b, c, d, e, f): Arguments) -> isize {
    let args = [a as usize, b as usize, c as usize, d as usize, e as usize, f as usize];
    // SAFETY: what the program passed to the function of this name, which makes this very
    // system call with these arguments; the kernel checks every pointer.
    unsafe { syscall(number as usize, args) }
}

/// The same, as a function of libc answers.
fn call(number: u32, arguments: Arguments) -> isize {
    let result = ask(number, arguments);
    /// The greatest error number.
    const MAX_ERRNO: isize = 4095;
    if (-MAX_ERRNO..0).contains(&result) {
        set_errno(-result as c_int);
        return -1;
    }
    result
}

/// What it returns nobody sees: it must close them, also where the kernel has no close_range (before
/// Linux 5.9) or a filter refuses it.
unsafe extern "C" fn closefrom(low: u64) {
    let low = (low as i32).max(0);
    if ask(__NR_close_range, (low as u64, u32::MAX as u64, 0, 0, 0, 0)) != 0 {
        close_from(low);
    }
}

unsafe extern "C" fn close_range(first: u64, last: u64, flags: u64) -> isize {
    call(__NR_close_range, (first, last, flags, 0, 0, 0))
}

unsafe extern "C" fn openat2(dir: u64, path: u64, how: u64, size: u64) -> isize {
    call(__NR_openat2, (dir, path, how, size, 0, 0))
}

unsafe extern "C" fn renameat2(a: u64, b: u64, c: u64, d: u64, flags: u64) -> isize {
    call(__NR_renameat2, (a, b, c, d, flags, 0))
}

unsafe extern "C" fn execveat(dir: u64, path: u64, argv: u64, envp: u64, flags: u64) -> isize {
    call(__NR_execveat, (dir, path, argv, envp, flags, 0))
}

unsafe extern "C" fn pwritev2(fd: u64, parts: u64, count: u64, at: u64, flags: u64) -> isize {
    // The kernel takes the offset in two halves; the second is 0 on 64 bits.
    call(__NR_pwritev2, (fd, parts, count, at, 0, flags))
}
