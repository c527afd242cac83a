//! A gate of the same name in a container: its page lies in another mount namespace, under the name
//! that ours has here.
//!
//! `/proc/PID/maps` tells a name only, and not in which namespace it is one. A page that a process
//! maps, and that has no more than its name in common with ours, is an old page of ours, or the page of
//! a gate that the process's own namespace has. It is the latter where the name leads to it there.

use crate::linux::directory::{self, FileId};
use crate::linux::file::cached_stat;
use crate::linux::procfs::maps::Line;
use crate::linux::procfs::{self, mount_namespace};
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use std::path::{Path, PathBuf};

/// So many ancestors are asked for.
const GENERATIONS: usize = 64;

/// A file that a process maps, and its name.
#[derive(Debug)]
pub struct MappedPage {
    file: FileId,
    path: PathBuf,
}

impl MappedPage {
    /// None: it cannot be told which file that is.
    pub fn of(pid: i32, line: &Line<'_>) -> Option<MappedPage> {
        let link = format!("/proc/{pid}/map_files/{:x}-{:x}", line.start, line.end);
        let file = match cached_stat(Path::new(&link)) {
            Some(stat) => (stat.dev, stat.ino),
            // It takes CAP_CHECKPOINT_RESTORE. On some file systems maps shows another device than stat.
            None => (line.dev_number()?, line.ino),
        };
        Some(MappedPage { file, path: line.path_once().into() })
    }

    /// Does its name lead to it in the mount namespace of this process, which is not ours? May hang. The
    /// root of a process in a chroot is not its namespace's: whoever started it may be outside of that.
    pub fn is_of_another_namespace(&self, pid: i32) -> bool {
        let Some(its) = mount_namespace(pid) else { return false };
        if mount_namespace(std::process::id() as i32).is_none_or(|ours| ours == its) {
            return false;
        }
        let mut one = pid;
        for _ in 0..GENERATIONS {
            if mount_namespace(one).as_ref() != Some(&its) {
                return false;
            }
            if self.is_named_below(&PathBuf::from(format!("/proc/{one}/root"))) {
                return true;
            }
            match procfs::stat(one) {
                Some(stat) if stat.ppid > 0 => one = stat.ppid,
                _ => return false,
            }
        }
        false
    }

    fn is_named_below(&self, root: &Path) -> bool {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return false;
        };
        directory::open(root, dir)
            .ok()
            .and_then(|(_, dir)| fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok())
            .is_some_and(|stat| (stat.st_dev, stat.st_ino) == self.file)
    }
}
