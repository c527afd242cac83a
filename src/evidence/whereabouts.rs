//! Where a change was made, by what the kernel tells of it: a directory's handle and a name, or a file's
//! handle alone.

use crate::linux::directory::{self, FileId};
use crate::linux::fanotify::{self, FsId, NoDirectory};
use crate::linux::look::WhyNot;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
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

/// By what directories and files are found.
#[derive(Default)]
pub struct Whereabouts {
    /// Directories by which a handle can be opened, by the id of their file system: one for each
    /// protected directory, since a mount may show a part of it only.
    roots: HashMap<FsId, Vec<Arc<File>>>,
    /// The protected directories of each gate.
    tops: Vec<Vec<FileId>>,
    known: HashMap<(FsId, Vec<u8>), Known>,
}

impl Whereabouts {
    /// With these protected directories of each gate.
    pub fn new(tops: Vec<Vec<FileId>>) -> Whereabouts {
        Whereabouts { tops, ..Whereabouts::default() }
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

    /// What stands under a name in a directory.
    pub fn stat(&self, fsid: &FsId, handle: &[u8], name: &OsStr) -> Option<FileStat> {
        self.roots_of(fsid).find_map(|root| {
            let dir = fanotify::directory(root, handle).ok()?;
            fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
        })
    }

    /// Which file that is.
    pub fn file(&self, fsid: &FsId, handle: &[u8]) -> Result<FileId, NoPath> {
        let mut why = NoPath::Unknown(WhyNot::Malformed);
        for root in self.roots_of(fsid) {
            match fanotify::directory(root, handle) {
                Ok(file) => {
                    let unknown = |e: nix::Error| NoPath::Unknown(WhyNot::Errno(e as i32));
                    return directory::id(&file).map_err(unknown);
                }
                Err(NoDirectory::Removed) => why = NoPath::Removed,
                Err(NoDirectory::Unknown(errno)) => why = NoPath::Unknown(errno),
            }
        }
        Err(why)
    }

    /// Where a directory lies, and who protects it.
    pub fn directory(&mut self, fsid: &FsId, handle: &[u8]) -> Result<Known, NoPath> {
        let key = (*fsid, handle.to_vec());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let found = self.resolve(fsid, handle)?;
        self.known.insert(key, found.clone());
        Ok(found)
    }

    fn resolve(&self, fsid: &FsId, handle: &[u8]) -> Result<Known, NoPath> {
        let mut elsewhere = Err(NoPath::Unknown(WhyNot::Malformed));
        for root in self.roots_of(fsid) {
            let dir = match fanotify::directory(root, handle) {
                Ok(dir) => dir,
                Err(NoDirectory::Removed) => {
                    elsewhere = elsewhere.or(Err(NoPath::Removed));
                    continue;
                }
                Err(NoDirectory::Unknown(why)) => {
                    if let Err(NoPath::Unknown(before)) = &mut elsewhere {
                        *before = why;
                    }
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
            elsewhere = Ok(found);
        }
        elsewhere
    }
}
