//! The path of a descriptor's file, and of a name that is relative.

use crate::linux::confined;
use crate::linux::files::{getcwd, readlink};
use crate::text::{Buffer, Path};
use linux_raw_sys::general::AT_FDCWD;

/// Makes a name absolute. In a process that has confined itself nothing is asked for it: the name
/// stays as it was given.
pub fn absolute(dir: i32, text: &[u8], buffer: &mut Path) {
    buffer.clear();
    if !text.starts_with(b"/") && !confined::by_itself() {
        if dir == AT_FDCWD {
            buffer.fill(getcwd);
            buffer.trim_end(0);
        } else {
            fill_path_of(dir, buffer);
        }
        buffer.push(b"/");
    }
    buffer.push(text.strip_prefix(b"./").unwrap_or(text));
}

/// What `judge` says to the path of a descriptor as the kernel shows it; empty where
/// /proc is not there. A path that is too long for the buffer is not judged by its beginning:
/// the answer is `if_too_long`. The buffer is on the stack here only, once.
#[inline(never)]
pub fn with_path_of(fd: i32, if_too_long: bool, judge: impl FnOnce(&[u8]) -> bool) -> bool {
    let mut path = Path::new();
    fill_path_of(fd, &mut path);
    if path.too_long { if_too_long } else { judge(path.bytes()) }
}

/// The path of a descriptor's file, as the kernel shows it; empty where it must not be asked.
pub fn fill_path_of(fd: i32, path: &mut Path) {
    path.clear();
    if fd < 0 || confined::by_itself() {
        return;
    }
    let mut link = Buffer::<32>::new();
    link.push(b"/proc/self/fd/");
    link.push_number(fd as u64);
    // SAFETY: a `Buffer` always ends with a NUL.
    path.fill(|buffer| unsafe { readlink(link.c(), buffer) });
}
