//! The lines of a small file, one at a time: whatever its length, on little stack.

use super::files::{close, open, read};
use super::signals::Blocked;
use linux_raw_sys::general::AT_FDCWD;

/// Longest line that is shown whole; of a longer one the beginning.
const LONGEST: usize = 256;

/// Shows each line, without its end, until `go_on` says no. False: the file cannot be read,
/// or not to its end.
///
/// # Safety
/// `path` is a C string.
pub unsafe fn each_line(
    _open: &Blocked,
    path: *const u8,
    mut go_on: impl FnMut(&[u8]) -> bool,
) -> bool {
    // SAFETY: the caller's promise about `path`.
    let fd = unsafe { open(AT_FDCWD, path, 0) };
    if fd < 0 {
        return false;
    }
    let fd = fd as i32;
    let mut buffer = [0u8; LONGEST];
    // Bytes of a line that has no end yet; and whether they are the rest of one that was shown.
    let (mut kept, mut shown) = (0, false);
    let complete = loop {
        let got = match buffer.get_mut(kept..) {
            Some(room) => read(fd, room),
            None => 0,
        };
        if got <= 0 {
            break got == 0;
        }
        let filled = (kept + got as usize).min(LONGEST);
        let mut rest = buffer.get(..filled).unwrap_or(&[]);
        let mut wants_more = true;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.get(..end).unwrap_or(&[]);
            wants_more = shown || go_on(line);
            shown = false;
            rest = rest.get(end + 1..).unwrap_or(&[]);
            if !wants_more {
                break;
            }
        }
        if wants_more && rest.len() == LONGEST {
            wants_more = shown || go_on(rest);
            shown = true;
            rest = &[];
        }
        if !wants_more {
            break true;
        }
        kept = rest.len();
        for at in 0..kept {
            let byte = buffer.get(filled - kept + at).copied().unwrap_or(0);
            if let Some(place) = buffer.get_mut(at) {
                *place = byte;
            }
        }
    };
    close(fd);
    complete
}
