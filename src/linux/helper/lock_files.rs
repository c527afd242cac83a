//! Lock files that patterns name, as a process sees the files: below its root, in its mount namespace.
//!
//! A name that leads to nothing is a lock that is not there. Whatever else fails on the way is told: a
//! lock may be there.

use super::protocol::LockFile;
use crate::linux::look::WhyNot;
use gate::profile;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::read;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// More of them are not listed.
const FOUND_MAX: usize = 10_000;
/// A lock file names its owner at its beginning.
const OWNER_MAX: usize = 32;

const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// Never waits for the other side of a FIFO.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// All that are there now. `of`: the process, 0: as we see the files. A `*` stands for a part of one name.
pub fn all(of: i32, patterns: &[String]) -> Result<Vec<LockFile>, WhyNot> {
    let root = match of {
        0 => "/".to_owned(),
        pid => format!("/proc/{pid}/root"),
    };
    let root = open(root.as_str(), LOOK, Mode::empty()).map_err(why)?;
    let mut search = Search { root, is_ours: of == 0, found: Vec::new() };
    for pattern in patterns {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        search.below(Path::new("."), &parts)?;
    }
    Ok(search.found)
}

fn why(error: Errno) -> WhyNot {
    WhyNot::Errno(error as i32)
}

/// Nothing is there.
fn is_absence(error: Errno) -> bool {
    matches!(error, Errno::ENOENT | Errno::ENOTDIR)
}

struct Search {
    root: OwnedFd,
    is_ours: bool,
    found: Vec<LockFile>,
}

impl Search {
    /// `dir`: below the root; `parts`: of the pattern, from there on.
    fn below(&mut self, dir: &Path, parts: &[&str]) -> Result<(), WhyNot> {
        let is_pattern = |part: &&str| part.contains(['*', '?']);
        let plain = parts.iter().take_while(|part| !is_pattern(part)).count();
        let (Some((last, above)), rest) = (parts.split_last(), &parts[plain..]) else {
            return Ok(());
        };
        let dir = match plain == parts.len() {
            true => above.iter().fold(dir.to_owned(), |dir, part| dir.join(part)),
            false => parts[..plain].iter().fold(dir.to_owned(), |dir, part| dir.join(part)),
        };
        let fd = match self.open(&dir) {
            Ok(fd) => fd,
            Err(e) if is_absence(e) => return Ok(()),
            Err(e) => return Err(why(e)),
        };
        let Some((pattern, rest)) = rest.split_first() else {
            return self.take(&fd, &dir, OsStr::new(last));
        };
        let entries = fs::read_dir(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        for entry in entries.map_err(|e| WhyNot::of(&e))? {
            let name = entry.map_err(|e| WhyNot::of(&e))?.file_name();
            if !profile::glob(pattern.as_bytes(), name.as_bytes()) {
                continue;
            }
            match rest {
                [] => self.take(&fd, &dir, &name)?,
                _ => self.below(&dir.join(&name), rest)?,
            }
        }
        Ok(())
    }

    /// Links lead where they lead the process.
    fn open(&self, dir: &Path) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new().flags(LOOK).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        match openat2(self.root.as_fd(), dir, how) {
            // Before Linux 5.6, or a filter: below our own root they lead there by themselves.
            Err(Errno::ENOSYS | Errno::EPERM) if self.is_ours => {
                openat(&self.root, dir, LOOK, Mode::empty())
            }
            opened => opened,
        }
    }

    /// Takes in what stands under this name, if something does.
    fn take(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr) -> Result<(), WhyNot> {
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(e) if is_absence(e) => return Ok(()),
            Err(e) => return Err(why(e)),
        };
        if self.found.len() >= FOUND_MAX {
            return Err(WhyNot::TooMuch);
        }
        let is_file = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        let below = path.strip_prefix(".").unwrap_or(path);
        let path: PathBuf = Path::new("/").join(below).join(name);
        self.found.push(LockFile {
            dev: stat.st_dev,
            ino: stat.st_ino,
            path: path.into_os_string().into_vec(),
            owner: is_file.then(|| owner(dir, name)).flatten(),
        });
        Ok(())
    }
}

/// The process that it names, as most do.
fn owner(dir: &OwnedFd, name: &OsStr) -> Option<i32> {
    let file = openat(dir, name, READ | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY, Mode::empty()).ok()?;
    let mut bytes = [0; OWNER_MAX];
    let len = read(&file, &mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn lab(name: &str) -> PathBuf {
        let dir = std::env::temp_dir()
            .join(format!("writegate-test-lock-files-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("anna")).unwrap();
        dir.canonicalize().unwrap()
    }

    fn found(dir: &Path, pattern: &str) -> Vec<(String, Option<i32>)> {
        let pattern = format!("{}/{pattern}", dir.display());
        let found = all(0, &[pattern]).unwrap();
        let shown = |path: Vec<u8>| String::from_utf8(path).unwrap();
        let top = format!("{}/", dir.display());
        let place = |path: Vec<u8>| shown(path).strip_prefix(&top).unwrap().to_owned();
        let mut found: Vec<_> = found.into_iter().map(|f| (place(f.path), f.owner)).collect();
        found.sort();
        found
    }

    #[test]
    fn one_is_found_by_its_pattern_and_names_its_owner() {
        let dir = lab("names");
        assert_eq!(found(&dir, "*/box.lock"), []);
        fs::write(dir.join("anna/box.lock"), "4711 host\n").unwrap();
        symlink("nowhere", dir.join("bert.lock")).unwrap();
        symlink("anna", dir.join("link")).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        nix::unistd::mkfifo(&dir.join("fifo.lock"), Mode::S_IRWXU).unwrap();
        let one = |path: &str, owner| (path.to_owned(), owner);
        let box_lock = || one("anna/box.lock", Some(4711));
        assert_eq!(found(&dir, "anna/*.lock"), [box_lock()]);
        assert_eq!(found(&dir, "*/box.lock"), [box_lock(), one("link/box.lock", Some(4711))]);
        assert_eq!(found(&dir, "anna/box.lock"), [box_lock()]);
        assert_eq!(found(&dir, "*.lock"), [one("bert.lock", None), one("fifo.lock", None)]);
        assert_eq!(found(&dir, "none/*/box.lock"), []);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_looked_at_is_not_without_locks() {
        let dir = lab("unseen");
        symlink("loop", dir.join("loop")).unwrap();
        for pattern in ["loop/box.lock", "loop/*.lock", "*/box.lock"] {
            let pattern = format!("{}/{pattern}", dir.display());
            let looked = all(0, std::slice::from_ref(&pattern));
            assert_eq!(looked, Err(WhyNot::Errno(libc::ELOOP)), "{pattern}");
        }
        assert_eq!(all(i32::MAX, &[]), Err(WhyNot::Errno(libc::ENOENT)));
        fs::remove_dir_all(dir).unwrap();
    }
}
