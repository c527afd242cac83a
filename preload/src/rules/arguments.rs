//! The arguments of a call: those that name a file, and the flags of an open.

use crate::frame::Frame;
use gate::calls::CWD;
use linux_raw_sys::general::AT_FDCWD;

// As wide as an argument.
pub const O_CREAT: u64 = linux_raw_sys::general::O_CREAT as u64;
pub const O_EXCL: u64 = linux_raw_sys::general::O_EXCL as u64;
pub const O_TRUNC: u64 = linux_raw_sys::general::O_TRUNC as u64;

/// A directory argument: a descriptor, or where the call has none.
pub fn directory(frame: &Frame, argument: u8) -> i32 {
    if argument == CWD { AT_FDCWD } else { frame.arg(argument) as i32 }
}

/// A path argument.
pub fn path(frame: &Frame, argument: u8) -> *const u8 {
    frame.arg(argument) as *const u8
}
