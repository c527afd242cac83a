//! Opens a directory that others may have named, or on the way to which others may put what they
//! like: a FIFO in its place, a link to somewhere else. And says whether one lies below another.
//!
//! Names are looked up below a root that is given: another process's, seen through its
//! `/proc/PID/root`. An absolute link begins at that root again, not at ours.

use crate::linux::look::WhyNot;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// So many links are followed, as by the kernel.
const LINKS_MAX: usize = 40;

/// Never waits for the other side of a FIFO, never follows a link by itself.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Of what is known to be a directory.
const OPEN: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);

/// How many directories lie within each other at most, where it is looked who holds whom.
const DEPTH_MAX: usize = 4096;

/// Device and inode.
pub type FileId = (u64, u64);

/// What a file is known by.
pub fn id(file: impl AsFd) -> nix::Result<FileId> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Does a directory lie below one of these, or is it one? By what they are, not by their names:
/// a bind mount, a renamed directory, another mount namespace is all the same. Not below any of
/// them is also what the mount does not reach through which it was opened.
pub fn lies_below(dir: impl AsFd, tops: &[FileId]) -> nix::Result<bool> {
    climb(dir, |here| tops.contains(&here))
}

/// What a directory is known by, and all those that it lies in, as far as its mount shows.
pub fn with_those_above(dir: impl AsFd) -> nix::Result<Vec<FileId>> {
    let mut all = Vec::new();
    climb(dir, |here| {
        all.push(here);
        false
    })?;
    Ok(all)
}

/// From a directory upwards: is there one of which that is true?
fn climb(dir: impl AsFd, mut is_found: impl FnMut(FileId) -> bool) -> nix::Result<bool> {
    let mut here = id(&dir)?;
    let mut above: Option<OwnedFd> = None;
    for _ in 0..DEPTH_MAX {
        if is_found(here) {
            return Ok(true);
        }
        let fd = above.as_ref().map_or(dir.as_fd(), AsFd::as_fd);
        let next = match openat(fd, "..", LOOK, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(false),
            next => next?,
        };
        let parent = id(&next)?;
        if parent == here {
            return Ok(false);
        }
        here = parent;
        above = Some(next);
    }
    Err(Errno::ELOOP)
}

/// Why a directory could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NotOpened {
    /// The kernel said so, or whoever was asked does not answer.
    Why(WhyNot),
    /// On the way there is a link of this user.
    LinkOf(u32),
    /// Something else stands there.
    NoDirectory,
    /// The process through whose root it was looked for is gone.
    RootGone,
}

impl NotOpened {
    /// There is no such directory, and not only none that we could see.
    pub fn is_absence(self) -> bool {
        match self {
            NotOpened::Why(why) => matches!(why, WhyNot::Errno(libc::ENOENT | libc::ENOTDIR)),
            NotOpened::NoDirectory | NotOpened::RootGone => true,
            NotOpened::LinkOf(_) => false,
        }
    }
}

impl std::fmt::Display for NotOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotOpened::Why(WhyNot::Hangs) => f.write_str("its file system does not answer"),
            NotOpened::Why(why) => why.fmt(f),
            NotOpened::LinkOf(user) => write!(f, "a link of user {user} is not followed"),
            NotOpened::NoDirectory => f.write_str("not a directory"),
            NotOpened::RootGone => f.write_str("no process of the service is there to ask"),
        }
    }
}

/// Opens this directory below this root, and says where it lies there. Links are followed that
/// are root's or our own.
pub fn open(root: &Path, path: &Path) -> Result<(PathBuf, OwnedFd), NotOpened> {
    let said = |e: Errno| NotOpened::Why(WhyNot::Errno(e as i32));
    let us = nix::unistd::geteuid().as_raw();
    // Through /proc this is a link that the kernel makes, and leads where no name does.
    let look = LOOK.difference(OFlag::O_NOFOLLOW).union(OFlag::O_DIRECTORY);
    let root = match nix::fcntl::open(root, look, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ESRCH) => return Err(NotOpened::RootGone),
        root => root.map_err(said)?,
    };
    let mut place = PathBuf::from("/");
    let mut above: Vec<OwnedFd> = vec![root];
    let mut parts: VecDeque<OsString> = names(path.as_os_str());
    let mut links = 0;
    while let Some(name) = parts.pop_front() {
        if name == ".." {
            place.pop();
            if above.len() > 1 {
                above.pop();
            }
            continue;
        }
        let here = &above[above.len() - 1];
        let next = openat(here.as_fd(), name.as_os_str(), LOOK, Mode::empty()).map_err(said)?;
        let found = fstat(&next).map_err(said)?;
        match SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) {
            SFlag::S_IFDIR => {
                place.push(&name);
                above.push(next);
            }
            SFlag::S_IFLNK if found.st_uid != 0 && found.st_uid != us => {
                return Err(NotOpened::LinkOf(found.st_uid));
            }
            SFlag::S_IFLNK => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(said(Errno::ELOOP));
                }
                let to = readlinkat(next.as_fd(), "").map_err(said)?;
                if Path::new(&to).is_absolute() {
                    place = PathBuf::from("/");
                    above.truncate(1);
                }
                for name in names(&to).into_iter().rev() {
                    parts.push_front(name);
                }
            }
            _ => return Err(NotOpened::NoDirectory),
        }
    }
    let here = &above[above.len() - 1];
    openat(here.as_fd(), ".", OPEN, Mode::empty()).map(|fd| (place, fd)).map_err(said)
}

fn names(path: &OsStr) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    Path::new(path).components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_of_our_own_are_followed_and_a_fifo_is_no_directory() {
        let base = std::env::temp_dir().join(format!("writegate-test-dir-{}", std::process::id()));
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        symlink("../a/./b", base.join("a/link")).unwrap();
        symlink(base.join("a"), base.join("absolute")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        nix::unistd::mkfifo(&base.join("fifo"), Mode::S_IRWXU).unwrap();
        let real = base.canonicalize().unwrap();
        let at = |name: &str| open(Path::new("/"), &base.join(name)).map(|(path, _)| path);
        assert_eq!(at("a/link"), Ok(real.join("a/b")));
        assert_eq!(at("absolute/b/.."), Ok(real.join("a")));
        assert_eq!(at("fifo"), Err(NotOpened::NoDirectory));
        assert!(at("loop").is_err() && at("nothing").is_err());
        // Below another root an absolute link begins there.
        symlink("/a/b", base.join("inside")).unwrap();
        let below = |name: &str| open(&base, Path::new(name)).map(|(path, _)| path);
        assert_eq!((below("/inside"), below("/../a")), (Ok("/a/b".into()), Ok("/a".into())));
        let top = [id(open(Path::new("/"), &base.join("a")).unwrap().1).unwrap()];
        let is_below = |path: &Path| lies_below(open(Path::new("/"), path).unwrap().1, &top);
        assert_eq!(is_below(&base.join("a/b")), Ok(true));
        std::fs::rename(base.join("a"), base.join("renamed")).unwrap();
        assert_eq!(is_below(&base.join("renamed/b")), Ok(true));
        assert_eq!(is_below(&base), Ok(false));
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let base = std::env::temp_dir().join(format!("writegate-test-link-{}", std::process::id()));
        std::fs::create_dir_all(base.join("a")).unwrap();
        symlink("a", base.join("link")).unwrap();
        let is_root = nix::unistd::geteuid().is_root();
        if is_root {
            std::os::unix::fs::lchown(base.join("link"), Some(65_534), Some(65_534)).unwrap();
        }
        let opened = open(Path::new("/"), &base.join("link"));
        std::fs::remove_dir_all(base).unwrap();
        // Only root can make a link another user's.
        assert_eq!(opened.is_err(), is_root);
    }
}
