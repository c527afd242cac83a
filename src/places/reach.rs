//! Which processes can come to a protected directory at all, by what is mounted for them.
//!
//! A container on this machine may run the service's programs, from files of its own and for mail of its
//! own. It is none of the service's as long as no mount of its namespace shows anything of what is
//! protected, and it has no directory of that open, or one from which it comes to what its list of mounts
//! does not tell. (What files it has open is asked of everybody.) The list leaves out what lies above its
//! root; and who sees other processes in `/proc` sees their roots there.

use super::Places;
use super::kind::Kind;
use crate::linux::file::cached_stat;
use crate::linux::in_file_system;
use crate::linux::look::Look;
use crate::linux::namespaces::{own_pid_namespace, pid_namespace};
use crate::linux::process::has_thread;
use crate::linux::procfs;
use crate::linux::procfs::mounts::{self, Changes, Shown};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a process sees: its mount namespace and its root.
type View = (PathBuf, PathBuf);
/// Numbers of mounts.
type Mounts = HashSet<u64>;

/// What was found of the processes that were asked about: those of one container see the same.
pub struct Reach<'a> {
    places: &'a Places,
    /// The mounts of each view; none: what is protected can be reached there by a name.
    known: RefCell<HashMap<View, Option<Mounts>>>,
}

impl Reach<'_> {
    /// Can this process come to a protected directory by a name? In doubt it can.
    pub fn includes(&self, pid: i32) -> bool {
        let root = fs::read_link(format!("/proc/{pid}/root")).ok();
        let Some(view) = procfs::mount_namespace(pid).zip(root) else { return true };
        if self.places.are_seen_through_others_by(pid) {
            return true;
        }
        let mut known = self.known.borrow_mut();
        let mounts = known.entry(view).or_insert_with(|| self.places.away_from(pid));
        mounts.as_ref().is_none_or(|mounts| self.places.have_a_way_in(pid, mounts))
    }
}

impl Places {
    /// From where they can be reached, as things stand now.
    pub fn reach(&self) -> Reach<'_> {
        Reach { places: self, known: RefCell::default() }
    }

    /// Does this process see others in `/proc` that see what is protected, and so their roots and directories?
    fn are_seen_through_others_by(&self, pid: i32) -> bool {
        let Some(its) = pid_namespace(&pid.to_string()) else { return true };
        let others = self.all().filter(|place| place.seen_by != 0);
        its == own_pid_namespace()
            || others.into_iter().any(|place| {
                pid_namespace(&place.seen_by.to_string()).is_none_or(|theirs| theirs == its)
            })
    }

    /// The numbers of the mounts of this process; none: by them it may come to what is protected.
    fn away_from(&self, pid: i32) -> Option<Mounts> {
        if self.dirs.is_empty() || !self.not_looked_at.is_empty() || self.has_names_of_ours(pid) {
            return None;
        }
        let mounts = mounts::all_shown(pid)?;
        let numbers: Mounts = mounts.iter().map(|mount| mount.number).collect();
        // In a chroot the mount that its root lies in may not be told.
        let root = open_directory(&PathBuf::from(format!("/proc/{pid}/root"))).ok()?;
        if !numbers.contains(&in_file_system::mount_of(root)?)
            || mounts.iter().any(|mount| self.hold_changes(&mount.changes))
        {
            return None;
        }
        let is_shown = self.all().any(|place| {
            // Of others the same files are shown by file systems with other numbers.
            let by_name = matches!(place.kind, Kind::Local | Kind::Btrfs);
            let at = in_file_system::place(&place.file, place.seen_by).filter(|_| by_name);
            at.is_none_or(|(device, at)| mounts.iter().any(|mount| shows(mount, device, &at)))
        });
        (!is_shown).then_some(numbers)
    }

    /// Is what is changed through such a mount put down below a protected directory? In doubt it is.
    fn hold_changes(&self, changes: &Changes) -> bool {
        match changes {
            Changes::Here | Changes::Nowhere => false,
            Changes::NotTold => true,
            Changes::In(upper) => {
                upper.is_relative()
                    || self.hold_directory_at(std::process::id() as i32, upper).unwrap_or(true)
            }
        }
    }

    /// Has this process a protected directory open, or is it in one? Or in one that none of its mounts shows
    /// (another namespace's: from there it comes to what lies below and above)? In doubt it has.
    fn have_a_way_in(&self, pid: i32, mounts: &Mounts) -> bool {
        let threads = match procfs::threads(pid) {
            Look::Seen(threads) => threads,
            Look::Gone(_) => return false,
            Look::NotSeen(_) => return true,
        };
        let is_way = |link: &Path| {
            let may_be = cached_stat(link).is_none_or(|at| at.is(libc::S_IFDIR));
            may_be
                && match open_directory(link) {
                    Ok(dir) => {
                        let shown = in_file_system::mount_of(&dir);
                        shown.is_none_or(|number| !mounts.contains(&number))
                            || self.holds_directory(pid, &dir)
                    }
                    // Closed meanwhile, or its process is gone.
                    Err(e) => !is_absence(&e),
                }
        };
        threads.into_iter().any(|thread| {
            let proc = PathBuf::from(format!("/proc/{thread}"));
            let open = match fs::read_dir(proc.join("fd")) {
                Ok(open) => open.flatten().any(|one| is_way(&one.path())),
                Err(_) => has_thread(pid, thread),
            };
            open || is_way(&proc.join("cwd"))
        })
    }

    /// Is the directory at this path, as we see it, below a protected one? None: there is no directory.
    fn hold_directory_at(&self, pid: i32, path: &Path) -> Option<bool> {
        match open_directory(path) {
            Ok(dir) => Some(self.holds_directory(pid, &dir)),
            Err(e) => (!is_absence(&e)).then_some(true),
        }
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    options.open(path)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH))
}

/// Does this mount show something of that directory, or of what it lies in?
fn shows(mount: &Shown, device: (u32, u32), at: &Path) -> bool {
    mount.device == device && (at.starts_with(&mount.part) || mount.part.starts_with(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_shows_what_lies_below_its_part_and_what_that_lies_in() {
        let mount = |device, part: &str| Shown {
            number: 1,
            device,
            part: part.into(),
            point: "/m".into(),
            changes: Changes::Here,
        };
        let mail = Path::new("/srv/mail");
        let shown = |device, part| shows(&mount(device, part), (8, 1), mail);
        assert!(shown((8, 1), "/") && shown((8, 1), "/srv") && shown((8, 1), "/srv/mail"));
        assert!(shown((8, 1), "/srv/mail/box"), "a part of it");
        assert!(!shown((8, 2), "/"), "another disk");
        assert!(!shown((8, 1), "/srv/mailman") && !shown((8, 1), "/var/lib/docker/x/hosts"));
    }
}
