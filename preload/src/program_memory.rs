//! What the program passed by a pointer: probed before it is read.
//!
//! A bad pointer is the kernel's to complain of (EFAULT), so a hook must not die of it.

use crate::linux::memory::{PAGE, readable};

/// A path that is longer is no path to the kernel either (PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// An argument that is longer is refused by exec (MAX_ARG_STRLEN).
const LONGEST_ARGUMENT: usize = 32 * PAGE;

/// A path that the program passed to a call; none where the kernel would say
/// EFAULT, which is the kernel's to say.
///
/// # Safety
/// What can be read there stays so while the result is used.
pub unsafe fn program_string<'a>(at: *const u8) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe { string(at, LONGEST_PATH) }
}

/// The same of an argument of a program about to be run, or of a command line.
///
/// # Safety
/// As [`program_string`].
pub unsafe fn program_text<'a>(at: *const u8) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    unsafe { string(at, LONGEST_ARGUMENT) }
}

/// # Safety
/// As [`program_string`].
unsafe fn string<'a>(at: *const u8, longest: usize) -> Option<&'a [u8]> {
    let mut len = 0;
    // SAFETY: the kernel said of each page, before its first byte is read here, that it
    // can be read, and by the caller's promise it stays so.
    unsafe {
        loop {
            let next = at.wrapping_add(len);
            if (len == 0 || (next as usize).is_multiple_of(PAGE)) && !readable(next) {
                return None;
            }
            if len == longest || *next == 0 {
                return Some(core::slice::from_raw_parts(at, len));
            }
            len += 1;
        }
    }
}

/// Can a structure of the program's be read there?
pub fn program_can_read(at: u64, size: usize) -> bool {
    let (first, last) = (at as *const u8, at.wrapping_add(size as u64 - 1) as *const u8);
    readable(first) && (first as usize / PAGE == last as usize / PAGE || readable(last))
}
