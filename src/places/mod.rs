//! Which directories a gate protects: one answer, found anew at each freeze and published to the
//! gate's processes.
//!
//! | module | duty |
//! |---|---|
//! | [`named`] | who names directories: the freezer, the profile, the processes themselves |
//! | [`resolve`] | what these names stand for, where the service looks them up, and what is mounted below |
//! | [`kind`] | kinds of file systems: what of them can be known by device, and what be watched |
//!
//! Wide to hold: whatever lies on a device of a protected directory. By the identity of the
//! directories to accuse: a file is changed *below* one of them, under whatever name it was reached.

pub mod kind;
pub mod named;
pub mod resolve;

use crate::foreign_text::ForeignText;
use crate::linux::directory::{self, FileId};
use gate::control::ControlPage;
use gate::places::{EVERYTHING, ON_BTRFS, ON_OVERLAY, ON_STORAGE};
use gate::profile::{self, Index, Key};
use kind::Kind;
use named::NamedBy;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
}

/// A name that stands for no directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The name.
    pub path: ForeignText,
    /// Who gave it.
    pub by: NamedBy,
    /// Why not.
    pub why: String,
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
    /// What is mounted below and cannot be looked at: where, and why.
    pub not_looked_at: Vec<(ForeignText, String)>,
    /// Whose list could not be read: process and reason.
    pub unread: Vec<(i32, String)>,
    profile: String,
    /// What single processes exclude: of their own changes, and no others'.
    own_exclude: HashMap<i32, Vec<String>>,
}

impl Places {
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
    pub fn may_hold(&self, dev: u64) -> bool {
        self.words() != 0 || self.devices().contains(&dev)
    }

    /// Is this directory, however it was opened, a protected one or below one? In doubt it is.
    pub fn holds_directory(&self, dir: impl AsFd) -> bool {
        directory::lies_below(dir, &self.tops()).unwrap_or(true)
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
