//! Watches the protected file systems for changes while the gate is closed.
//!
//! fanotify, armed when all are held and read before the barrier goes down: every
//! event in between went past the gate. It sees neither stores through mappings
//! nor, where only a mount can be marked (btrfs subvolumes), names.

use super::places::Places;
use crate::foreign_text::ForeignText;
use crate::linux::fanotify::{self, Event, FsId, Group, NoDirectory, Place, Scope};
use crate::linux::procfs;
use crate::outcome::finding::Cause;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often it is read again because directories had been removed meanwhile: so many,
/// one within the other, would have to go, each between two reads. What is removed
/// elsewhere on a busy disk without end must not count against the snapshot.
const STALE_ROUNDS: usize = 8;
/// How much is read at a time, ...
const BUFFER: usize = 256 * 1024;
/// ... and how often: a flood must not hold the thaw up.
const READS: usize = 64;
/// So many changes are kept.
const CHANGES: usize = 1000;
/// The inode of a btrfs subvolume's root (BTRFS_FIRST_FREE_OBJECTID).
const FIRST_INODE_OF_A_SUBVOLUME: u64 = 256;

/// One change that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The process, as the kernel numbers it for us.
    pub pid: i32,
    /// Its name, if it still lived when it was asked.
    pub program: Option<ForeignText>,
    /// Belongs to the snapshot command.
    pub own: bool,
    /// What was changed.
    pub path: PathBuf,
    new_dir: bool,
}

impl FileChange {
    /// A new btrfs subvolume below a protected directory is the snapshot, whichever process
    /// made it.
    pub fn is_snapshot(&self) -> bool {
        self.new_dir
            && std::fs::metadata(&self.path).is_ok_and(|m| m.ino() == FIRST_INODE_OF_A_SUBVOLUME)
    }
}

/// The watch.
#[derive(Default)]
pub struct Watch {
    groups: Vec<Group>,
    /// A directory of each file system, by its id.
    roots: HashMap<FsId, Arc<File>>,
    /// What was seen so far.
    pub changes: Vec<FileChange>,
    /// What could not be seen, and why.
    pub blind: Vec<Cause>,
}

/// Why an event has no path.
enum NoPath {
    /// Its directory is no more. Removing it was a change of its own, seen in the
    /// directory above, and so on up to one that is still there: if that is
    /// protected, the removal is the escape, and if not, this was none.
    DirectoryRemoved,
    /// It cannot be told.
    Unknown,
}

impl Watch {
    /// Opens what is needed, before anything is held.
    pub fn prepare(places: &[Places]) -> Watch {
        let mut watch = Watch::default();
        for file in places.iter().flat_map(|p| &p.files) {
            if let Some(id) = fanotify::fsid(file) {
                watch.roots.entry(id).or_insert_with(|| file.clone());
            }
        }
        watch
    }

    /// From now on every change is seen. The barrier is up.
    pub fn arm(&mut self, places: &[Places]) {
        let dirs = places.iter().flat_map(|p| p.dirs.iter().zip(&p.files));
        let dirs: BTreeMap<&PathBuf, &Arc<File>> = dirs.collect();
        let (mut names, mut contents) = (None, None);
        for (dir, file) in dirs {
            let Err(why) = add(&mut names, Scope::FileSystem, file) else { continue };
            let shown = ForeignText::of_path(dir);
            self.blind.push(match add(&mut contents, Scope::Mount, file) {
                Ok(()) => Cause::OnlyMountWatched(shown, why.to_string()),
                Err(e) => Cause::NotWatched(shown, e.to_string()),
            });
        }
        self.groups.extend(names);
        self.groups.extend(contents);
    }

    /// Is anything watched at all?
    pub fn is_armed(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Readable when something was seen.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.groups.iter().map(Group::fd).collect()
    }

    /// Takes what was seen so far of protected files. `own`: is this a process of the command?
    /// `judged`: is this file protected? What is changed elsewhere on the disk, by whatever user,
    /// takes no place from it.
    pub fn take(&mut self, own: impl Fn(i32) -> bool, judged: impl Fn(&Path) -> bool) {
        // A directory that is gone has left an event where it was, in the queue already:
        // there its place shows. If that one is gone as well, again one above.
        for _ in 0..STALE_ROUNDS {
            if !self.take_once(&own, &judged) {
                break;
            }
        }
    }

    /// True: some directory had been removed before its event was read.
    fn take_once(&mut self, own: &impl Fn(i32) -> bool, judged: &impl Fn(&Path) -> bool) -> bool {
        let mut stale = false;
        for event in self.read() {
            let (pid, place, new_dir, content) = match event {
                Event::Overflow => {
                    self.unseen(Cause::QueueOverflowed);
                    continue;
                }
                Event::Changed { pid, place, new_dir, content } => (pid, place, new_dir, content),
            };
            match self.path(place) {
                Ok(path) if !judged(&path) || content && is_special(&path) => {}
                Ok(path) => self.add(pid, path, new_dir, own),
                Err(NoPath::DirectoryRemoved) => stale = true,
                Err(NoPath::Unknown) => self.unseen(Cause::ChangedWithoutPath(pid)),
            }
        }
        stale
    }

    /// Everything that was told, or so much that what is left is unknown.
    fn read(&mut self) -> Vec<Event> {
        let mut buffer = vec![0u8; BUFFER];
        let mut events = Vec::new();
        let mut flood = false;
        for group in &self.groups {
            let mut reads = 0;
            let mut beyond = Vec::new();
            while group.read(&mut buffer, if reads < READS { &mut events } else { &mut beyond }) {
                if reads == READS {
                    flood = true;
                    break;
                }
                reads += 1;
            }
        }
        if flood {
            self.unseen(Cause::TooManyChanges);
        }
        events
    }

    fn path(&self, place: Place) -> Result<PathBuf, NoPath> {
        match place {
            Place::Path(path) => path.ok_or(NoPath::Unknown),
            Place::Handle { fsid, handle, name } => {
                let root = self.roots.get(&fsid).ok_or(NoPath::Unknown)?;
                let dir = fanotify::directory(root, &handle).map_err(|why| match why {
                    NoDirectory::Removed => NoPath::DirectoryRemoved,
                    NoDirectory::Unknown => NoPath::Unknown,
                })?;
                Ok(if name.is_empty() || name == "." { dir } else { dir.join(name) })
            }
        }
    }

    fn unseen(&mut self, what: Cause) {
        if !self.blind.contains(&what) {
            self.blind.push(what);
        }
    }

    fn add(&mut self, pid: i32, path: PathBuf, new_dir: bool, own: &impl Fn(i32) -> bool) {
        let known = |c: &FileChange| c.pid == pid && c.path == path;
        if self.changes.iter().any(known) {
            return;
        }
        if self.changes.len() == CHANGES {
            self.unseen(Cause::TooManyChanges);
        } else {
            let program = procfs::stat(pid).map(|s| s.comm);
            self.changes.push(FileChange { pid, program, own: own(pid), path, new_dir });
        }
    }
}

/// Adds a directory to a group, which is made if it is not there.
fn add(group: &mut Option<Group>, scope: Scope, dir: &File) -> io::Result<()> {
    let group = match group {
        Some(group) => group,
        None => group.insert(Group::new(scope)?),
    };
    group.add(dir)
}

/// What is written to a pipe or device goes elsewhere: a chroot's `dev/null`, or a
/// pipe between services, lies on the file system and is none of its contents.
fn is_special(path: &Path) -> bool {
    let kind = path.symlink_metadata().map(|meta| meta.file_type());
    kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
}
