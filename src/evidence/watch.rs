//! Watches the protected file systems for changes while the gate is closed.
//!
//! fanotify, armed when all are held and read before the barrier goes down: every
//! event in between went past the gate. It sees neither stores through mappings
//! nor, where only a mount can be marked (btrfs subvolumes), names.

use super::places::Places;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::fanotify::{self, Event, FsId, Group, NoDirectory, Place, Scope};
use crate::linux::look::WhyNot;
use crate::linux::procfs;
use crate::outcome::finding::{Cause, Subject};
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
/// ... and how long at once: a flood must not hold the thaw up. What is left is not seen, and that
/// is said.
const READS_NS: u64 = 500_000_000;
/// So many changes of protected files by others are put down; the rest is counted.
const CHANGES: usize = 100;
/// The inode of a btrfs subvolume's root (BTRFS_FIRST_FREE_OBJECTID).
const FIRST_INODE_OF_A_SUBVOLUME: u64 = 256;

/// One change that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The process, as the kernel numbers it for us.
    pub pid: i32,
    /// Its name, if it still lived when it was asked.
    pub program: Option<ForeignText>,
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
    /// Changes of protected files by others, so far.
    pub changes: Vec<FileChange>,
    /// So many more of them.
    pub more: u64,
    /// Directories whose file system cannot be asked for names, and why.
    nameless: HashMap<PathBuf, String>,
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
        for (dir, file) in places.iter().flat_map(|p| p.dirs.iter().zip(&p.files)) {
            // What a directory's handle means must be found out, or a change has no place: that
            // takes CAP_DAC_READ_SEARCH, and a file system that knows handles.
            let resolved =
                fanotify::fsid(file).and_then(|id| fanotify::resolves_handles(file).map(|()| id));
            match resolved {
                Ok(id) => drop(watch.roots.entry(id).or_insert_with(|| file.clone())),
                Err(e) => drop(watch.nameless.insert(dir.clone(), e.to_string())),
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
            let why = match self.nameless.get(dir) {
                Some(why) => why.clone(),
                None => match add(&mut names, Scope::FileSystem, file) {
                    Ok(()) => continue,
                    Err(e) => e.to_string(),
                },
            };
            let shown = ForeignText::of_path(dir);
            self.blind.push(match add(&mut contents, Scope::Mount, file) {
                Ok(()) => Cause::OnlyMountWatched(shown, why),
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
    /// `judged`: is this file protected from this process? What is changed elsewhere on the disk, by
    /// whatever user, takes no place from it.
    pub fn take(&mut self, own: impl Fn(i32) -> bool, judged: impl Fn(i32, &Path) -> bool) {
        let until = clock::now_ns() + READS_NS;
        // A directory that is gone has left an event where it was, in the queue already:
        // there its place shows. If that one is gone as well, again one above.
        for _ in 0..STALE_ROUNDS {
            if !self.take_once(&own, &judged, until) {
                break;
            }
        }
    }

    /// True: some directory had been removed before its event was read.
    fn take_once(
        &mut self,
        own: &impl Fn(i32) -> bool,
        judged: &impl Fn(i32, &Path) -> bool,
        until: u64,
    ) -> bool {
        let mut stale = false;
        let mut buffer = vec![0u8; BUFFER];
        for at in 0..self.groups.len() {
            loop {
                let mut events = Vec::new();
                match self.groups[at].read(&mut buffer, &mut events) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(e) => {
                        self.unseen(Cause::NotSeen(Subject::Watch, WhyNot::of(&e)));
                        break;
                    }
                }
                for event in events {
                    stale |= self.take_event(event, own, judged);
                }
                if clock::now_ns() >= until {
                    self.unseen(Cause::TooManyChanges);
                    return false;
                }
            }
        }
        stale
    }

    /// True: its directory had been removed.
    fn take_event(
        &mut self,
        event: Event,
        own: &impl Fn(i32) -> bool,
        judged: &impl Fn(i32, &Path) -> bool,
    ) -> bool {
        let (pid, place, new_dir, content) = match event {
            Event::Overflow => {
                self.unseen(Cause::QueueOverflowed);
                return false;
            }
            Event::Malformed => {
                self.unseen(Cause::NotSeen(Subject::Watch, WhyNot::Malformed));
                return false;
            }
            Event::Changed { pid, place, new_dir, content } => (pid, place, new_dir, content),
        };
        match self.path(place) {
            Ok(path) if !judged(pid, &path) || content && is_special(&path) => {}
            Ok(path) if !own(pid) => self.add(pid, path, new_dir),
            Ok(_) => {}
            Err(NoPath::DirectoryRemoved) => return true,
            Err(NoPath::Unknown) if !own(pid) => self.unseen(Cause::ChangedWithoutPath(pid)),
            Err(NoPath::Unknown) => {}
        }
        false
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

    fn add(&mut self, pid: i32, path: PathBuf, new_dir: bool) {
        let known = |c: &FileChange| c.pid == pid && c.path == path;
        if self.changes.iter().any(known) {
            return;
        }
        let program = procfs::stat(pid).map(|s| s.comm);
        let change = FileChange { pid, program, path, new_dir };
        if self.changes.len() < CHANGES {
            self.changes.push(change);
        } else if !change.is_snapshot() {
            self.more += 1;
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
