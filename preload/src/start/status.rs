//! What the kernel says of this process (/proc/self/status): is there a system call filter, what
//! is its id. Asked by calls that the loader has made before, so that no filter is in the way.

use crate::linux::lines::each_line;
use crate::linux::signals::Blocked;
use crate::text::number;

/// What the start wants to know.
pub struct Status {
    /// There is a filter, or it cannot be known.
    pub filtered: bool,
    /// The process's id in its own namespace.
    pub pid: Option<i32>,
    /// All its descriptors are smaller.
    pub descriptors: u32,
}

/// Reads it.
pub fn read() -> Status {
    let (mut pid, mut descriptors, mut filtered, mut last_seen) = (None, 0, false, false);
    let path = c"/proc/self/status".as_ptr().cast();
    let value = |text: &[u8]| number(text.trim_ascii()).map(|(value, _)| value);
    // SAFETY: a literal C string.
    let complete = unsafe {
        each_line(&Blocked::not_at_the_start(), path, |line| {
            if let Some(ids) = line.strip_prefix(b"NSpid:") {
                // One for each namespace, its own last.
                let own = ids.rsplit(|byte| *byte == b'\t').next();
                pid = own.and_then(value).and_then(|id| i32::try_from(id).ok());
            } else if let Some(size) = line.strip_prefix(b"FDSize:") {
                descriptors = value(size).unwrap_or(0) as u32;
            } else if let Some(mode) = line.strip_prefix(b"Seccomp:") {
                filtered = value(mode) != Some(0);
                last_seen = true;
            }
            !last_seen
        })
    };
    Status { filtered: filtered || !complete, pid, descriptors }
}
