//! Where a change was made, by what the kernel tells of it: a directory's handle and a name, or a file's
//! handle alone.

use super::recent::Recent;
use crate::linux::directory::{self, FileId};
use crate::linux::fanotify::{self, FsId, NoDirectory};
use crate::linux::look::WhyNot;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstat, fstatat};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory that changes were made in.
#[derive(Clone)]
pub struct Known {
    /// Its path; empty: it cannot be told.
    pub path: PathBuf,
    /// The gates that protect it; none: it lies elsewhere.
    pub gates: Vec<usize>,
}

/// Why an event has no path.
pub enum NoPath {
    /// It is no more. Removing it was a change of its own, seen in the
    /// directory above, and so on up to one that is still there: if that is
    /// protected, the removal is the escape, and if not, this was none.
    Removed,
    /// It cannot be told.
    Unknown(WhyNot),
}

impl From<NoDirectory> for NoPath {
    fn from(why: NoDirectory) -> NoPath {
        match why {
            NoDirectory::Removed => NoPath::Removed,
            NoDirectory::Unknown(why) => NoPath::Unknown(why),
        }
    }
}

/// There was nothing to ask by.
const NOT_ASKED: NoPath = NoPath::Unknown(WhyNot::Malformed);

/// A file that was changed.
pub struct Named {
    /// What it is.
    pub stat: FileStat,
    /// A name of it; none: it cannot be told.
    pub path: Option<PathBuf>,
}

/// By what directories and files are found.
pub struct Whereabouts {
    /// Directories by which a handle can be opened, by the id of their file system: one for each
    /// protected directory, since a mount may show a part of it only.
    roots: HashMap<FsId, Vec<Arc<File>>>,
    /// The protected directories of each gate.
    tops: Vec<Vec<FileId>>,
    /// The same, and what they lie in: with another name of one of these, they have other names.
    above: Vec<HashSet<FileId>>,
    known: HashMap<Handle, Known>,
    /// Handles of what is no more: none is given out twice.
    removed: Recent<Handle>,
    /// Directories that were removed lately, by the one in which they were.
    gone_from: HashMap<Handle, Vec<u8>>,
    /// Files that were made elsewhere while we watch: a name that they are given in a protected place is
    /// a change of its own.
    born: Recent<Handle>,
    /// Files whose number of names has changed: a new name is not their first.
    counted: Recent<Handle>,
}

/// A file or directory: its file system, its handle there.
pub type Handle = (FsId, Vec<u8>);

/// So many handles are kept in mind: any user can make more.
const KEPT: usize = 100_000;
/// So far up it is climbed.
const CLIMBED: usize = 64;

impl Whereabouts {
    /// With these protected directories of each gate.
    pub fn new(tops: Vec<Vec<FileId>>) -> Whereabouts {
        Whereabouts {
            roots: HashMap::new(),
            above: Vec::new(),
            tops,
            known: HashMap::new(),
            removed: Recent::new(KEPT),
            gone_from: HashMap::new(),
            born: Recent::new(KEPT),
            counted: Recent::new(KEPT),
        }
    }

    /// A directory was made in one that lies elsewhere.
    pub fn made(&mut self, fsid: &FsId, handle: Vec<u8>, path: PathBuf) {
        forget_many(self.known.len(), || self.known.clear());
        self.known.insert((*fsid, handle), Known { path, gates: Vec::new() });
    }

    /// A directory was removed from another one.
    pub fn gone(&mut self, fsid: &FsId, handle: Vec<u8>, from: Vec<u8>) {
        forget_many(self.gone_from.len(), || self.gone_from.clear());
        self.gone_from.insert((*fsid, handle), from);
    }

    /// A file was given a name in a directory that lies elsewhere.
    pub fn named(&mut self, fsid: &FsId, handle: &[u8]) {
        let file = (*fsid, handle.to_vec());
        if !self.counted.contains(&file) {
            self.born.insert(file);
        }
    }

    /// Was this file made elsewhere while we watch? If not, its number of names has changed (`counted`).
    pub fn is_born_elsewhere(&mut self, fsid: &FsId, handle: &[u8], counted: bool) -> bool {
        let file = (*fsid, handle.to_vec());
        let born = self.born.contains(&file);
        if counted && !born {
            self.counted.insert(file);
        }
        born
    }

    /// Was this directory removed from one that lies elsewhere, as far as is known?
    fn was_elsewhere(&self, key: &Handle) -> bool {
        let mut at = key.clone();
        for _ in 0..CLIMBED {
            match (self.known.get(&at), self.gone_from.get(&at)) {
                (Some(known), _) => return known.gates.is_empty(),
                (None, Some(from)) => at = (at.0, from.clone()),
                (None, None) => return false,
            }
        }
        false
    }

    /// Handles of this file system can be opened by this directory.
    pub fn add_root(&mut self, id: FsId, dir: Arc<File>) {
        self.roots.entry(id).or_default().push(dir);
    }

    /// Directories by which a handle of this file system can be opened; where its id is not known,
    /// all of them.
    fn roots_of(&self, fsid: &FsId) -> impl Iterator<Item = &Arc<File>> {
        let known = self.roots.get(fsid);
        let all = known.is_none().then(|| self.roots.values().flatten());
        known.into_iter().flatten().chain(all.into_iter().flatten())
    }

    /// What two roots' answers come to. On the file system of both, who says that it is no more has
    /// looked, and who cannot say has not; where that is not known, "no more" may be said of another one.
    fn either(&self, fsid: &FsId, one: Option<NoPath>, other: NoPath) -> Option<NoPath> {
        let prefers_removed = self.roots.contains_key(fsid);
        Some(match (one, &other) {
            (None, _) => other,
            (Some(one), _) if matches!(one, NoPath::Removed) == prefers_removed => one,
            _ => other,
        })
    }

    /// What a handle names, through the first root that can open it.
    fn opened(&self, fsid: &FsId, handle: &[u8]) -> Result<OwnedFd, NoPath> {
        let mut failed = None;
        for root in self.roots_of(fsid) {
            match fanotify::directory(root, handle) {
                Ok(found) => return Ok(found),
                Err(why) => failed = self.either(fsid, failed, why.into()),
            }
        }
        Err(failed.unwrap_or(NOT_ASKED))
    }

    /// What stands under a name in a directory.
    pub fn stat(&self, fsid: &FsId, handle: &[u8], name: &OsStr) -> Result<FileStat, NoPath> {
        let dir = self.opened(fsid, handle)?;
        match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(stat),
            Err(Errno::ENOENT) => Err(NoPath::Removed),
            Err(e) => Err(NoPath::Unknown(WhyNot::Errno(e as i32))),
        }
    }

    /// Which file that is, how many names it has, and the one that is known of them.
    pub fn file(&self, fsid: &FsId, handle: &[u8]) -> Result<Named, NoPath> {
        let file = self.opened(fsid, handle)?;
        let stat = fstat(&file).map_err(|e| NoPath::Unknown(WhyNot::Errno(e as i32)))?;
        Ok(Named { stat, path: fanotify::path_of(&file).ok() })
    }

    /// Is this directory, as we see it, protected by none? False also where that cannot be told.
    pub fn is_elsewhere(&self, dir: &Path) -> bool {
        let tops: Vec<FileId> = self.tops.iter().flatten().copied().collect();
        let opened = directory::open(Path::new("/"), dir);
        opened.is_ok_and(|(_, dir)| directory::lies_below(&dir, &tops) == Ok(false))
    }

    /// What the protected directories of the next gate lie in, and they themselves.
    pub fn add_above(&mut self, above: HashSet<FileId>) {
        self.above.push(above);
    }

    /// The gates with a protected directory below this one, which has another name now. (Or it is one.)
    pub fn lie_below(&self, fsid: &FsId, handle: &[u8]) -> Vec<usize> {
        let opened = self.opened(fsid, handle).ok();
        let id = opened.and_then(|dir| directory::id(&dir).ok());
        let is_above = |above: &HashSet<FileId>| id.is_some_and(|id| above.contains(&id));
        let gates = self.above.iter().enumerate().filter(|(_, above)| is_above(above));
        gates.map(|(at, _)| at).collect()
    }

    /// Where a directory lies, and who protects it.
    pub fn directory(&mut self, fsid: &FsId, handle: &[u8]) -> Result<Known, NoPath> {
        let key = (*fsid, handle.to_vec());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        // What is looked up in vain costs most.
        if self.removed.contains(&key) {
            return Err(NoPath::Removed);
        }
        if self.was_elsewhere(&key) {
            return Ok(Known { path: PathBuf::new(), gates: Vec::new() });
        }
        match self.resolve(fsid, handle) {
            Ok(found) => {
                forget_many(self.known.len(), || self.known.clear());
                self.known.insert(key, found.clone());
                Ok(found)
            }
            Err(NoPath::Removed) => {
                self.removed.insert(key);
                Err(NoPath::Removed)
            }
            unknown => unknown,
        }
    }

    fn resolve(&self, fsid: &FsId, handle: &[u8]) -> Result<Known, NoPath> {
        let mut elsewhere = None;
        let mut failed = None;
        for root in self.roots_of(fsid) {
            let dir = match fanotify::directory(root, handle) {
                Ok(dir) => dir,
                Err(why) => {
                    failed = self.either(fsid, failed, why.into());
                    continue;
                }
            };
            let below = |(_, tops): &(usize, &Vec<FileId>)| {
                // What cannot be told counts as protected.
                !tops.is_empty() && directory::lies_below(&dir, tops).unwrap_or(true)
            };
            let gates: Vec<usize> =
                self.tops.iter().enumerate().filter(below).map(|(at, _)| at).collect();
            let found = Known { path: fanotify::path_or_ancestors(dir).unwrap_or_default(), gates };
            if !found.gates.is_empty() {
                return Ok(found);
            }
            // Through another mount it may be below one all the same.
            elsewhere = Some(found);
        }
        // Who could not say might have said that it is protected.
        match (elsewhere, failed) {
            (_, Some(NoPath::Unknown(why))) => Err(NoPath::Unknown(why)),
            (Some(found), _) => Ok(found),
            (None, failed) => Err(failed.unwrap_or(NOT_ASKED)),
        }
    }
}

fn forget_many(kept: usize, forget: impl FnOnce()) {
    if kept >= KEPT {
        forget();
    }
}
