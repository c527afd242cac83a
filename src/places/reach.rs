//! Which processes can come to a protected directory at all, by what is mounted for them.
//!
//! A container on this machine may run the service's programs, from files of its own and for mail of its
//! own. It is none of the service's as long as no mount of its namespace shows anything of what is
//! protected, and it has no directory of that open. (What files it has open is asked of everybody.)

use super::Places;
use super::kind::Kind;
use crate::linux::file::cached_stat;
use crate::linux::in_file_system;
use crate::linux::look::Look;
use crate::linux::process::has_thread;
use crate::linux::procfs;
use crate::linux::procfs::mounts::{self, Changes, Shown};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What was found of the processes that were asked about: those of one container see the same.
pub struct Reach<'a> {
    places: &'a Places,
    /// By mount namespace and root.
    known: RefCell<HashMap<(PathBuf, PathBuf), bool>>,
}

impl Reach<'_> {
    /// Can this process come to a protected directory by a name? In doubt it can.
    pub fn includes(&self, pid: i32) -> bool {
        let root = fs::read_link(format!("/proc/{pid}/root")).ok();
        let Some(view) = procfs::mount_namespace(pid).zip(root) else { return true };
        let known = self.known.borrow().get(&view).copied();
        let by_name = known.unwrap_or_else(|| {
            let can = self.places.may_be_reached_by(pid);
            self.known.borrow_mut().insert(view, can);
            can
        });
        by_name || self.places.have_a_way_in(pid)
    }
}

impl Places {
    /// From where they can be reached, as things stand now.
    pub fn reach(&self) -> Reach<'_> {
        Reach { places: self, known: RefCell::default() }
    }

    fn may_be_reached_by(&self, pid: i32) -> bool {
        if self.dirs.is_empty() || !self.not_looked_at.is_empty() || self.has_names_of_ours(pid) {
            return true;
        }
        let Some(mounts) = mounts::all_shown(pid) else { return true };
        if mounts.iter().any(|mount| self.hold_changes(&mount.changes)) {
            return true;
        }
        self.all().any(|place| {
            // Of others the same files are shown by file systems with other numbers.
            let by_name = matches!(place.kind, Kind::Local | Kind::Btrfs);
            let at = in_file_system::place(&place.file, place.seen_by).filter(|_| by_name);
            at.is_none_or(|(device, at)| mounts.iter().any(|mount| shows(mount, device, &at)))
        })
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

    /// Has this process a protected directory open, or is it in one? In doubt it has.
    fn have_a_way_in(&self, pid: i32) -> bool {
        let threads = match procfs::threads(pid) {
            Look::Seen(threads) => threads,
            Look::Gone(_) => return false,
            Look::NotSeen(_) => return true,
        };
        let is_way = |link: &Path| {
            let stat = cached_stat(link);
            let may_be = stat.is_none_or(|at| at.is(libc::S_IFDIR) && self.may_hold(at.dev));
            // Closed meanwhile, or its process is gone.
            may_be && self.hold_directory_at(pid, link).unwrap_or(false)
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
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
        match options.open(path) {
            Ok(dir) => Some(self.holds_directory(pid, &dir)),
            Err(e)
                if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH)) =>
            {
                None
            }
            Err(_) => Some(true),
        }
    }
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
