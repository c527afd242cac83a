//! Where a directory lies in its file system, whatever part of that a mount shows: by the mount tables. For
//! those who may not ask by handle (no CAP_DAC_READ_SEARCH, a filter, a file system that knows none).

use super::directory::id;
use super::fanotify::path_of;
use super::procfs::mounts::{self, Shown};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// So far up it is climbed.
const CLIMBED: usize = 4096;
const ABOVE: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// From the top of its file system. `seen_by`: a process that sees the mount it was opened through,
/// unless we see it ourselves. None: it cannot be told.
pub fn path(dir: &File, seen_by: i32) -> Option<PathBuf> {
    place(dir, seen_by).map(|(_, path)| path)
}

/// The same, and the device of its file system, as the kernel's lists have it.
pub fn place(dir: &File, seen_by: i32) -> Option<((u32, u32), PathBuf)> {
    let mount = mount_of(dir)?;
    let shown = [std::process::id() as i32, seen_by]
        .into_iter()
        .find_map(|pid| Some((pid, mounts::shown_by(pid, mount)?)));
    let (pid, Shown { device, part, point, .. }) = shown?;
    let own: OwnedFd = dir.as_fd().try_clone_to_owned().ok()?;
    let said = path_of(&own).ok()?;
    let names: Vec<OsString> = said.iter().skip(1).map(OsString::from).collect();
    let below = depth(dir, mount, pid == std::process::id() as i32 && point == Path::new("/"))?;
    let within = names.get(names.len().checked_sub(below)?..)?;
    Some((device, part.join(within.iter().collect::<PathBuf>())))
}

/// The number of the mount that it was opened through (Linux 3.15).
pub fn mount_of(file: impl AsFd) -> Option<u64> {
    let info = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    let info = fs::read_to_string(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// So many directories lie above it in its mount. `is_our_root`: that mount is the one that we have as our root.
/// None: it cannot be told; our root may lie in the middle of a mount, and is as far as we can climb.
fn depth(dir: &File, mount: u64, is_our_root: bool) -> Option<usize> {
    let mut here: OwnedFd = dir.as_fd().try_clone_to_owned().ok()?;
    for above in 0..CLIMBED {
        let next = openat(&here, "..", ABOVE, Mode::empty()).ok()?;
        if mount_of(&next)? != mount {
            return Some(above);
        }
        if id(&next).ok()? == id(&here).ok()? {
            let root = File::open("/").ok()?;
            let ends_at_ours = mount_of(&root)? == mount;
            return (is_our_root || !ends_at_ours).then_some(above);
        }
        here = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_lies_below_those_above_it() {
        let base =
            std::env::temp_dir().join(format!("writegate-test-in-fs-{}", std::process::id()));
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        let at = |name: &str| path(&File::open(base.join(name)).unwrap(), 0);
        let (top, below) = (at("."), at("a/b"));
        std::fs::remove_dir_all(&base).unwrap();
        // In a chroot that is no mount nothing can be told.
        assert_eq!(top.map(|top| top.join("a/b")), below);
    }
}
