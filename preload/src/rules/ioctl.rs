//! ioctl: by the type and direction of its request.

use crate::announce::{PASS, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::protected::operand::Operand;
use linux_raw_sys::general::{_IOC_DIRSHIFT, _IOC_TYPEMASK, _IOC_TYPESHIFT, _IOC_WRITE};
use linux_raw_sys::ioctl::{FIFREEZE, FITHAW, FITRIM};

/// Types of requests that file systems answer: btrfs (and clones), XFS (and generic ones), ext
/// (flags, verity, fscrypt), and versions of files.
const FILE_SYSTEM_TYPES: [u32; 4] = [BTRFS_IOCTL_MAGIC, b'X' as u32, b'f' as u32, b'v' as u32];
/// Of linux/btrfs.h.
const BTRFS_IOCTL_MAGIC: u32 = 0x94;

/// Requests that change a file: clones, flags, allocation, subvolumes; by their
/// type and direction. Freezing and thawing a file system are not held.
pub fn ioctl(frame: &mut Frame) -> u64 {
    let request = frame.arg(1) as u32;
    let writes = request & (_IOC_WRITE << _IOC_DIRSHIFT) != 0;
    let changes = FILE_SYSTEM_TYPES.contains(&(request >> _IOC_TYPESHIFT & _IOC_TYPEMASK));
    if !writes || !changes || matches!(request, FIFREEZE | FITHAW | FITRIM) {
        return PASS;
    }
    let fd = frame.arg(0) as i32;
    // SAFETY: this operand names no path.
    unsafe { announce(frame, Some(fd), SectionEffect::Begins, |_| Operand::Fd(fd)) }
}
