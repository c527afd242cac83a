//! The descriptors of this process, as /proc lists them.

use super::call::call;
use super::files::{close, list, open};
use super::signals::Blocked;
use crate::text;
use linux_raw_sys::general as nr;
use linux_raw_sys::general::{AT_FDCWD, O_DIRECTORY};

/// Shows each descriptor but the one by which they are listed. False: they are not told (no /proc in this
/// root), or not all. One that is shown may be closed: the kernel goes on by its number.
pub fn each(_open: &Blocked, mut show: impl FnMut(i32)) -> bool {
    // SAFETY: a literal C string.
    let dir = unsafe { open(AT_FDCWD, c"/proc/self/fdinfo".as_ptr().cast(), O_DIRECTORY) };
    if dir < 0 {
        return false;
    }
    let dir = dir as i32;
    let mut entries = [0u8; 512];
    let told = loop {
        let len = list(dir, &mut entries);
        if len <= 0 {
            break len == 0;
        }
        let mut rest = entries.get(..len as usize).unwrap_or(&[]);
        // struct linux_dirent64: inode, offset, length (u16), type, name.
        while let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, low, high, _, name @ ..] = rest {
            let size = u16::from_le_bytes([*low, *high]) as usize;
            if let Some((fd, _)) = text::number(name)
                && fd as i32 != dir
            {
                show(fd as i32);
            }
            rest = rest.get(size.max(1)..).unwrap_or(&[]);
        }
    };
    close(dir);
    told
}

/// Does the kernel close a range with these flags? It is asked with the last number, which no descriptor has.
pub fn closes_ranges(flags: u64) -> bool {
    const CLOSE_RANGE_UNSHARE: u64 = 2;
    call!(nr::__NR_close_range, u32::MAX, u32::MAX, flags & !CLOSE_RANGE_UNSHARE) == 0
}

/// Closes each descriptor from this one on, where the kernel does not do it at once (close_range).
pub fn close_from(low: i32) {
    let close_told = || each(&Blocked::all(), |fd| _ = (fd >= low).then(|| close(fd)));
    if !close_told() {
        // No /proc, or no descriptor is free to read it by: each that there may be, and then those beyond a
        // limit that was lowered.
        const RLIMIT_NOFILE: u32 = 7;
        let mut limit = [0u64; 2];
        if call!(nr::__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &raw mut limit) == 0 {
            for fd in low..limit[0].min(i32::MAX as u64) as i32 {
                close(fd);
            }
        }
        close_told();
    }
}
