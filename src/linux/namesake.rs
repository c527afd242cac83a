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
        let Some(its) = other_namespace(pid) else { return false };
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
        named_below(root, &self.path) == Some(self.file)
    }
}

/// Does the name of our page lead to another file for this process, in a mount namespace of its own? Then
/// one that asks for that name does not ask for our gate. May hang.
pub fn leads_to_another(pid: i32, page: &Path) -> bool {
    other_namespace(pid).is_some()
        && named_below(&PathBuf::from(format!("/proc/{pid}/root")), page)
            .zip(named_below(Path::new("/"), page))
            .is_some_and(|(its, ours)| its != ours)
}

/// The mount namespace of this process, if that is not ours.
fn other_namespace(pid: i32) -> Option<PathBuf> {
    let ours = mount_namespace(std::process::id() as i32)?;
    mount_namespace(pid).filter(|its| *its != ours)
}

/// The file that has this name below a root.
fn named_below(root: &Path, path: &Path) -> Option<FileId> {
    let (_, dir) = directory::open(root, path.parent()?).ok()?;
    let stat = fstatat(&dir, path.file_name()?, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_dev, stat.st_ino))
}
