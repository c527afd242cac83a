//! **A control, not the product**: the gate that one would write in an afternoon, and that shows what the rest is for.
//!
//! It counts the calls that change files, in memory that all processes share, and holds new ones while a barrier is up.
//! Nothing is in progress then; but a set of changes that belong together under a lock is cut in two between two of
//! them. It knows no locks, no children, no deaths. redhook cannot stand in front of functions with variable
//! arguments (`open`, `openat`, `fcntl`, `dprintf`), so files are created past it; what stdio flushes goes past it too.

// What redhook's macro makes is not ours to mend.
#![allow(clippy::all)]

mod page;

use libc::{c_char, c_int, c_uint, c_void, iovec, off_t, size_t, ssize_t};
use once_cell::race::OnceRef;
use redhook::{hook, real};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

static PAGE: OnceRef<Option<&'static page::Page>> = OnceRef::new();

/// Only files are held: a socket's other end may be what the freezer waits for.
fn is_file(descriptor: c_int) -> bool {
    // SAFETY: plain bytes, for which zero is a value.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a structure of its own to fill.
    unsafe {
        libc::fstat(descriptor, &mut found) == 0 && found.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// One call: counted while it is under way, and not begun while the barrier is up.
fn counted<T>(held: impl Fn() -> bool, call: impl FnOnce() -> T) -> T {
    let Some(page) = PAGE.get_or_init(|| Box::leak(Box::new(page::map()))) else { return call() };
    let mut waited = None;
    loop {
        // Announce, then look: the freezer closes, then counts.
        page.inside.fetch_add(1, SeqCst);
        if page.barrier.load(SeqCst) == 0 || !held() {
            break;
        }
        if waited.get_or_insert_with(Instant::now).elapsed() > page::LIMIT {
            break;
        }
        page.inside.fetch_sub(1, SeqCst);
        std::thread::sleep(Duration::from_millis(1));
    }
    let answer = call();
    page.inside.fetch_sub(1, SeqCst);
    answer
}

/// A line for each function: by a descriptor, or by names.
macro_rules! calls {
    ($($kind:ident $name:ident as $own:ident ($($v:ident: $t:ty),*) -> $r:ty;)*) => { $(
        hook! { unsafe fn $name($($v: $t),*) -> $r => $own {
            // SAFETY: the arguments of whoever called the function of this name.
            counted(|| calls!(@ $kind $($v),*), || unsafe { real!($name)($($v),*) })
        } }
    )* };
    (@ descriptor $first:ident $(, $v:ident)*) => { is_file($first) };
    (@ names $($v:ident),*) => { true };
}

calls! {
    descriptor write as my_write(fd: c_int, data: *const c_void, n: size_t) -> ssize_t;
    descriptor pwrite as my_pwrite(fd: c_int, data: *const c_void, n: size_t, at: off_t) -> ssize_t;
    descriptor pwrite64 as my_pwrite64(fd: c_int, data: *const c_void, n: size_t, at: off_t) -> ssize_t;
    descriptor writev as my_writev(fd: c_int, data: *const iovec, n: c_int) -> ssize_t;
    descriptor pwritev as my_pwritev(fd: c_int, data: *const iovec, n: c_int, at: off_t) -> ssize_t;
    descriptor ftruncate as my_ftruncate(fd: c_int, n: off_t) -> c_int;
    descriptor ftruncate64 as my_ftruncate64(fd: c_int, n: off_t) -> c_int;
    descriptor fallocate as my_fallocate(fd: c_int, mode: c_int, at: off_t, n: off_t) -> c_int;
    descriptor posix_fallocate as my_posix_fallocate(fd: c_int, at: off_t, n: off_t) -> c_int;
    descriptor fsync as my_fsync(fd: c_int) -> c_int;
    descriptor fdatasync as my_fdatasync(fd: c_int) -> c_int;
    descriptor fchmod as my_fchmod(fd: c_int, mode: c_uint) -> c_int;
    descriptor fchown as my_fchown(fd: c_int, user: c_uint, group: c_uint) -> c_int;
    names creat as my_creat(path: *const c_char, mode: c_uint) -> c_int;
    names mkstemp as my_mkstemp(template: *mut c_char) -> c_int;
    names truncate as my_truncate(path: *const c_char, n: off_t) -> c_int;
    names rename as my_rename(from: *const c_char, to: *const c_char) -> c_int;
    names renameat as my_renameat(a: c_int, from: *const c_char, b: c_int, to: *const c_char) -> c_int;
    names link as my_link(from: *const c_char, to: *const c_char) -> c_int;
    names linkat as my_linkat(a: c_int, from: *const c_char, b: c_int, to: *const c_char, flags: c_int) -> c_int;
    names symlink as my_symlink(target: *const c_char, path: *const c_char) -> c_int;
    names unlink as my_unlink(path: *const c_char) -> c_int;
    names unlinkat as my_unlinkat(at: c_int, path: *const c_char, flags: c_int) -> c_int;
    names remove as my_remove(path: *const c_char) -> c_int;
    names mkdir as my_mkdir(path: *const c_char, mode: c_uint) -> c_int;
    names mkdirat as my_mkdirat(at: c_int, path: *const c_char, mode: c_uint) -> c_int;
    names rmdir as my_rmdir(path: *const c_char) -> c_int;
    names chmod as my_chmod(path: *const c_char, mode: c_uint) -> c_int;
    names chown as my_chown(path: *const c_char, user: c_uint, group: c_uint) -> c_int;
}
