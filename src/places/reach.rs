//! Which processes can come to a protected directory at all, by what is mounted for them.
//!
//! A container on this machine may run the service's programs, from files of its own and for mail of its
//! own. It is none of the service's as long as no mount of its namespace shows anything of what is
//! protected. (What it has open is asked of everybody.)

use super::Places;
use super::kind::Kind;
use crate::linux::in_file_system;
use crate::linux::procfs;
use crate::linux::procfs::mounts::{self, Shown};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
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
        known.unwrap_or_else(|| {
            let can = self.places.may_be_reached_by(pid);
            self.known.borrow_mut().insert(view, can);
            can
        })
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
        self.all().any(|place| {
            // Of others the same files are shown by file systems with other numbers.
            let by_name = matches!(place.kind, Kind::Local | Kind::Btrfs);
            let at = in_file_system::place(&place.file, place.seen_by).filter(|_| by_name);
            at.is_none_or(|(device, at)| mounts.iter().any(|mount| shows(mount, device, &at)))
        })
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
        let mount = |device, part: &str| Shown { device, part: part.into(), point: "/m".into() };
        let mail = Path::new("/srv/mail");
        let shown = |device, part| shows(&mount(device, part), (8, 1), mail);
        assert!(shown((8, 1), "/") && shown((8, 1), "/srv") && shown((8, 1), "/srv/mail"));
        assert!(shown((8, 1), "/srv/mail/box"), "a part of it");
        assert!(!shown((8, 2), "/"), "another disk");
        assert!(!shown((8, 1), "/srv/mailman") && !shown((8, 1), "/var/lib/docker/x/hosts"));
    }
}
