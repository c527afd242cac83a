//! The arguments of a call that name a file.

use crate::frame::Frame;
use gate::calls::CWD;
use linux_raw_sys::general::AT_FDCWD;

/// A directory argument: a descriptor, or where the call has none.
pub fn directory(frame: &Frame, argument: u8) -> i32 {
    if argument == CWD { AT_FDCWD } else { frame.arg(argument) as i32 }
}

/// A path argument.
pub fn path(frame: &Frame, argument: u8) -> *const u8 {
    frame.arg(argument) as *const u8
}
