//! Which lines of `/proc/locks` tell the inode of their file as `stat` tells it.
//!
//! Where they do, a process that does not have that inode open does not hold the lock, and its `fdinfo`
//! need not be read. An overlay may tell others (it shows those of its layers), and what kind of file
//! system has no disk is told by the table of mounts only.

use super::bounded::{self, Bounds};
use super::locks::KernelLock;
use super::mounts::device_of;
use std::collections::HashSet;

/// As in `mounts`.
const BOUNDS: Bounds = Bounds { bytes: 32 << 20, ns: 500_000_000 };
/// File systems without a disk of their own of which `stat` shows the kernel's own inode numbers.
const SAME: [&[u8]; 4] = [b"btrfs", b"tmpfs", b"ramfs", b"zfs"];

/// The devices of such file systems, as the table of mounts has them now.
#[derive(Default)]
pub struct InodesTold {
    without_disk: HashSet<(u32, u32)>,
}

impl InodesTold {
    /// Reads the table, if it is needed for one of these lines.
    pub fn by<'a>(mut lines: impl Iterator<Item = &'a KernelLock>) -> InodesTold {
        let mut told = InodesTold::default();
        if lines.any(|line| line.device().is_none_or(|(major, _)| major == 0)) {
            // What could not be read is not told.
            let _ = bounded::lines("/proc/self/mountinfo", BOUNDS, |line| {
                told.without_disk.extend(same(line));
            });
        }
        told
    }

    /// The inode of this line's file, if `stat` tells it so.
    pub fn inode(&self, line: &KernelLock) -> Option<u64> {
        let device = line.device()?;
        (device.0 != 0 || self.without_disk.contains(&device)).then(|| line.ino())
    }
}

/// The device of a mount of such a file system. `36 35 0:31 / /mnt rw - tmpfs tmpfs rw`
fn same(line: &[u8]) -> Option<(u32, u32)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let kind = fields.by_ref().skip_while(|field| *field != b"-").nth(1)?;
    SAME.contains(&kind).then(|| device_of(line))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::locks::KernelLockKind;

    fn line(file: &str) -> KernelLock {
        let kind = KernelLockKind::Flock;
        KernelLock { kind, write: true, pid: 7, file: file.into(), range: "0 EOF".into() }
    }

    #[test]
    fn an_overlay_does_not_tell_and_a_disk_does() {
        let told = InodesTold {
            without_disk: [
                "22 1 0:26 / /run rw - tmpfs run rw",
                "23 1 0:27 / /o rw - overlay o rw",
            ]
            .iter()
            .filter_map(|line| same(line.as_bytes()))
            .collect(),
        };
        assert_eq!(told.inode(&line("00:1a:77")), Some(77));
        assert_eq!(told.inode(&line("00:1b:77")), None, "an overlay");
        assert_eq!(told.inode(&line("00:1c:77")), None, "not among the mounts");
        assert_eq!(told.inode(&line("fe:01:77")), Some(77));
        assert_eq!(told.inode(&line("nonsense")), None);
    }
}
