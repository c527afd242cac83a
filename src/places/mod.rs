//! Which directories a gate protects: one answer, found anew at each freeze and published to the
//! gate's processes.
//!
//! | module | duty |
//! |---|---|
//! | [`named`] | who names directories: the freezer, the profile, the processes themselves |
//! | [`resolve`] | what these names stand for, where the service looks them up, and what is mounted below |
//! | [`reach`] | which processes can come to them |
//! | [`exports`] | which of them this machine shows to others |
//! | [`kind`] | kinds of file systems: what of them can be known by device, and what be watched |
//!
//! Wide to hold: whatever lies on a device of a protected directory. By the identity of the
//! directories to accuse: a file is changed *below* one of them, under whatever name it was reached.

mod exports;
pub mod kind;
pub mod named;
pub mod reach;
pub mod resolve;

use crate::foreign_text::ForeignText;
use crate::linux::directory::{self, FileId, NotOpened};
use crate::linux::fanotify::{self, NoDirectory};
use crate::linux::file::{CachedStat, is_its_only_name};
use crate::linux::in_file_system;
use crate::linux::procfs;
use crate::outcome::fault::{CONFIG, Fault};
use gate::control::ControlPage;
use gate::places::{EVERYTHING, ON_BTRFS, ON_OVERLAY, ON_STORAGE};
use gate::profile::{self, Index, Key};
use kind::Kind;
use named::{NamedBy, Unread};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many names that stand for no directory are told.
const MISSING_TOLD: usize = 5;

/// One directory, opened.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it lies for the service, links resolved.
    pub path: PathBuf,
    /// It.
    pub file: Arc<File>,
    /// What it is known by, whatever its name.
    pub id: FileId,
    /// What it lies on.
    pub kind: Kind,
    /// A process that sees it there; 0: we do.
    pub seen_by: i32,
}

/// A name that stands for no directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The name.
    pub path: ForeignText,
    /// Who gave it.
    pub by: NamedBy,
    /// Why not.
    pub why: NotOpened,
}

/// What a name is most likely meant as that has another separator in it than the one there is, or a `*`.
fn likely_meant(missing: &[Missing]) -> &'static str {
    let several = |missing: &Missing| {
        let path = missing.path.to_string();
        let words: Vec<_> = path.split([',', ' ', ';']).filter(|word| !word.is_empty()).collect();
        words.len() > 1 && words.iter().all(|word| word.starts_with('/'))
    };
    if missing.iter().any(several) {
        return " (directories are separated by `:`)";
    }
    match missing.iter().any(|missing| missing.path.to_string().contains('*')) {
        true => " (patterns are not expanded: name each directory)",
        false => "",
    }
}

/// The protected places of one gate.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Protected directories. Empty: everything that lies on storage is held, and nobody
    /// can be accused.
    pub dirs: Vec<Place>,
    /// Roots of the file systems that are mounted below them.
    pub below: Vec<Place>,
    /// Named, and no directory.
    pub missing: Vec<Missing>,
    /// What cannot be looked at, of the directories as one of several views has them, of what is mounted
    /// below, of what is shown to others: where, and why.
    pub not_looked_at: Vec<(ForeignText, NotOpened)>,
    /// Shown to other machines by this one's own server: which, and by what.
    pub exported: Vec<(ForeignText, &'static str)>,
    /// Processes whose list could not be read.
    pub unread: Vec<Unread>,
    profile: String,
    /// What single processes exclude: of their own changes, and no others'.
    own_exclude: HashMap<i32, Vec<String>>,
}

impl Places {
    /// Why gate `name` is not frozen: a directory that is not there may be a slip of the pen, or a
    /// mount that failed, and the snapshot one of nothing. What only a user's process names may not
    /// keep root from a snapshot.
    pub fn refusal(&self, name: &str) -> Option<Fault> {
        let by_user = |missing: &&Missing| matches!(missing.by, NamedBy::UserProcess(_));
        let missing: Vec<String> = self
            .missing
            .iter()
            .filter(|missing| !by_user(missing))
            .take(MISSING_TOLD)
            .map(|missing| format!("{} ({}): {}", missing.path, missing.by, missing.why))
            .collect();
        (!missing.is_empty()).then(|| {
            Fault::new(
                CONFIG,
                format!(
                    "gate {name}: named as protected and not there: {}; mend the name, or mount \
                     what belongs there{}. Nothing was held",
                    missing.join("; "),
                    likely_meant(&self.missing)
                ),
            )
        })
    }

    /// All directories that are watched and flushed: the protected ones, and what is mounted below.
    pub fn all(&self) -> impl Iterator<Item = &Place> {
        self.dirs.iter().chain(&self.below)
    }

    /// What the protected directories are known by.
    pub fn tops(&self) -> Vec<FileId> {
        self.dirs.iter().map(|place| place.id).collect()
    }

    /// The device numbers of them all.
    pub fn devices(&self) -> BTreeSet<u64> {
        self.all().map(|place| place.id.0).collect()
    }

    /// What else the list says: [`gate::places`].
    fn words(&self) -> u32 {
        if self.dirs.is_empty() {
            return ON_STORAGE;
        }
        let word = |place: &Place| match place.kind {
            Kind::Btrfs => ON_BTRFS,
            Kind::Overlay => ON_OVERLAY,
            _ => 0,
        };
        let cut = if self.not_looked_at.is_empty() { 0 } else { EVERYTHING };
        self.all().fold(cut, |words, place| words | word(place))
    }

    /// Publishes them: from now on the processes of the gate judge by this. The barrier is down.
    pub fn publish(&self, page: &ControlPage) {
        let devices: Vec<u64> = self.devices().into_iter().collect();
        page.places.publish(&devices, self.words());
    }

    /// May a file with this device number be a protected one?
    fn may_hold(&self, dev: u64) -> bool {
        let words = self.words();
        words & !ON_BTRFS != 0
            || words & ON_BTRFS != 0 && is_of_no_disk(dev)
            || self.all().any(|place| place.id.0 == dev)
    }

    /// By what it is and where it lies, can this open file be below a protected directory? `file`: none
    /// if that cannot be told.
    pub fn may_hold_open_file(&self, file: Option<&CachedStat>) -> bool {
        file.is_none_or(|file| {
            (file.is(libc::S_IFREG) || file.is(libc::S_IFDIR)) && self.may_hold(file.dev)
        })
    }

    /// Is a file that a process has open below a protected directory, by whatever name it was
    /// reached there? `file`: what it is; `path`: where its link in `/proc` says that it is, in the
    /// process's own mount namespace.
    pub fn hold_open_file(&self, pid: i32, file: Option<&CachedStat>, path: &Path) -> bool {
        if self.dirs.is_empty() || !path.is_absolute() || self.excludes(path) {
            return false;
        }
        match file {
            Some(it) => {
                self.may_hold_open_file(file) && self.hold_path_of(pid, (it.dev, it.ino), path)
            }
            None => self.holds(path),
        }
    }

    /// Is this file, that a process sees at this path, below a protected directory?
    pub fn hold_mapped_file(&self, pid: i32, file: FileId, path: &Path) -> bool {
        self.may_hold_file(file.0, path) && self.hold_path_of(pid, file, path)
    }

    /// Does a file with this device number lie where protected ones do, and is it judged?
    pub fn may_hold_file(&self, dev: u64, path: &Path) -> bool {
        !self.dirs.is_empty() && self.may_hold(dev) && !self.excludes(path)
    }

    fn hold_path_of(&self, pid: i32, file: FileId, path: &Path) -> bool {
        // By the text first: it costs nothing.
        let by_text = self.holds(path);
        if by_text && self.has_names_of_ours(pid) {
            return true;
        }
        let names = path.parent().and_then(|dir| dir.strip_prefix("/").ok()).zip(path.file_name());
        let Some((dir, name)) = names else { return by_text };
        match File::open(PathBuf::from(format!("/proc/{pid}/root")).join(dir)) {
            // Another directory disproves the text only if it has the file, and nothing else has: one that was
            // mounted over the file's own since shows nothing of it, or a link to it, or a mount of it.
            Ok(dir) => {
                self.holds_directory(pid, &dir)
                    || by_text && !is_its_only_name(dir.as_fd(), name, file)
            }
            // It was removed, or the process is gone; another user's we may not look at.
            Err(e) => {
                by_text
                    || !matches!(
                        e.raw_os_error(),
                        Some(
                            libc::ENOENT | libc::ENOTDIR | libc::ESRCH | libc::EACCES | libc::EPERM
                        )
                    )
            }
        }
    }

    /// Does a path of this process mean what it means to us, or to one that named a directory? In a mount
    /// namespace of its own any user may give any name to a file.
    fn has_names_of_ours(&self, pid: i32) -> bool {
        let Some(its) = procfs::mount_namespace(pid) else { return true };
        let us = std::process::id() as i32;
        let mut who: BTreeSet<i32> = self.all().map(|place| place.seen_by).collect();
        who.insert(us);
        who.into_iter().any(|one| procfs::mount_namespace(one).as_ref() == Some(&its))
    }

    /// Is this directory, that was opened as this process sees it, a protected one or below one? In doubt
    /// it is.
    fn holds_directory(&self, pid: i32, dir: &File) -> bool {
        let tops = self.tops();
        if directory::lies_below(dir, &tops).unwrap_or(true) {
            return true;
        }
        // A mount that shows a part of what is protected does not lead up to it: looked at through
        // ours.
        let Ok((dev, _)) = directory::id(dir) else { return true };
        let same: Vec<&Place> = self.all().filter(|place| place.id.0 == dev).collect();
        match self.holds_by_handle(dir, &tops, &same) {
            Ok(held) => held,
            Err(doubt) => holds_by_mounts(pid, dir, &same).unwrap_or(doubt),
        }
    }

    /// The same by its handle. An error: that cannot be told, and what is to be taken for true.
    fn holds_by_handle(&self, dir: &File, tops: &[FileId], same: &[&Place]) -> Result<bool, bool> {
        // Where a file system knows no handles, it lies below none as far as the mount shows.
        let handle =
            fanotify::handle_of(dir).map_err(|e| e.raw_os_error() != Some(libc::EOPNOTSUPP))?;
        let mut refused = false;
        for place in same {
            match fanotify::directory(&place.file, &handle) {
                Ok(dir) if directory::lies_below(&dir, tops).unwrap_or(true) => return Ok(true),
                Ok(_) | Err(NoDirectory::Removed) => {}
                Err(NoDirectory::Unknown(_)) => refused = true,
            }
        }
        if refused { Err(true) } else { Ok(false) }
    }

    /// Is this path, as the service sees it, below a protected directory, and judged?
    pub fn holds(&self, path: &Path) -> bool {
        self.dirs.iter().any(|place| path.starts_with(&place.path)) && !self.excludes(path)
    }

    /// Does the profile say that changes to this file are not judged? What is excluded everywhere
    /// (/var/log) is not below a directory that was named.
    pub fn excludes(&self, path: &Path) -> bool {
        let index = Index::of(&self.profile).unwrap_or(Index::EMPTY);
        index.given(&self.profile, Key::Exclude, path.as_os_str().as_bytes())
    }

    /// Does the environment of this process say that changes of its own to this file are not judged?
    pub fn excuses(&self, pid: i32, path: &Path) -> bool {
        let bytes = path.as_os_str().as_bytes();
        let own = self.own_exclude.get(&pid).map(Vec::as_slice).unwrap_or_default();
        own.iter().any(|pattern| profile::glob(pattern.as_bytes(), bytes))
    }
}

/// Does this directory lie below one of these places of its file system, by what the mount tables say? None:
/// that cannot be told.
fn holds_by_mounts(pid: i32, dir: &File, same: &[&Place]) -> Option<bool> {
    // These show another part of what the server has as the top of a file system of its own.
    if same.iter().any(|place| matches!(place.kind, Kind::Shared(_))) {
        return None;
    }
    let at = in_file_system::path(dir, pid)?;
    for place in same {
        if at.starts_with(in_file_system::path(&place.file, place.seen_by)?) {
            return Some(true);
        }
    }
    Some(false)
}

/// A number that the kernel gives to a file system without a disk of its own, as each subvolume of
/// btrfs has one.
fn is_of_no_disk(dev: u64) -> bool {
    libc::major(dev) == 0
}
