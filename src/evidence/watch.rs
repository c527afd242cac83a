//! Watches the protected file systems for changes while the gate is closed.
//!
//! fanotify, armed when all are held and read before the barrier goes down: every
//! event in between went past the gate. It sees neither stores through mappings
//! nor, where only a mount can be marked, names.
//!
//! A change is judged by the directory that it was made in: is that one below a protected one,
//! whatever the name, the mount or the namespace by which it was reached? A file that has other
//! names and is changed elsewhere is looked for below them after the thaw ([`super::hard_links`]).

use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::directory::{self, FileId};
use crate::linux::fanotify::{self, Event, FsId, Group, NoDirectory, Place, Scope};
use crate::linux::look::WhyNot;
use crate::linux::procfs;
use crate::outcome::finding::{Cause, Subject};
use crate::places::Places;
use crate::places::kind::Kind;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
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

/// So many files with other names, changed elsewhere, are looked for.
const LINKED: usize = 1000;

/// One change that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The process, as the kernel numbers it for us.
    pub pid: i32,
    /// Its name, if it still lived when it was asked.
    pub program: Option<ForeignText>,
    /// What was changed.
    pub path: PathBuf,
    /// Of which gates it is a protected file.
    pub gates: Vec<usize>,
    new_dir: bool,
}

impl FileChange {
    /// Of a file of this gate.
    pub fn of_file(
        pid: i32,
        program: Option<ForeignText>,
        path: PathBuf,
        gate: usize,
    ) -> FileChange {
        FileChange { pid, program, path, gates: vec![gate], new_dir: false }
    }

    /// A new btrfs subvolume below a protected directory is the snapshot, whichever process
    /// made it.
    pub fn is_snapshot(&self) -> bool {
        self.new_dir
            && std::fs::metadata(&self.path).is_ok_and(|m| m.ino() == FIRST_INODE_OF_A_SUBVOLUME)
    }
}

/// Who has changed a file elsewhere that has other names.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The process.
    pub pid: i32,
    /// Its name.
    pub program: Option<ForeignText>,
}

/// A directory that changes were made in.
#[derive(Clone)]
struct Known {
    path: PathBuf,
    /// The gates that protect it; none: it lies elsewhere.
    gates: Vec<usize>,
}

/// The watch.
#[derive(Default)]
pub struct Watch {
    groups: Vec<Group>,
    /// Directories by which a handle can be opened, by the id of their file system: one for each
    /// protected directory, since a mount may show a part of it only.
    roots: HashMap<FsId, Vec<Arc<File>>>,
    /// By what the file system of each place is watched.
    marks: HashMap<FileId, Arc<File>>,
    /// The protected directories of each gate.
    tops: Vec<Vec<FileId>>,
    known: HashMap<(FsId, Vec<u8>), Known>,
    /// Changes of protected files by others, so far.
    pub changes: Vec<FileChange>,
    /// So many more of them.
    pub more: u64,
    /// Files with other names that were changed elsewhere.
    pub linked: BTreeMap<FileId, Linked>,
    /// Directories whose file system cannot be asked for names, and why.
    nameless: HashMap<FileId, String>,
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
        let mut watch =
            Watch { tops: places.iter().map(Places::tops).collect(), ..Watch::default() };
        for place in places.iter().flat_map(Places::all) {
            // What a directory's handle means must be found out, or a change has no place: that
            // takes CAP_DAC_READ_SEARCH, and a file system that knows handles.
            let file = &place.file;
            let top = (place.kind == Kind::Btrfs).then(|| fanotify::top_of_btrfs(file).ok());
            let mark = top.flatten().map_or(file.clone(), Arc::new);
            let resolved =
                fanotify::fsid(&mark).and_then(|id| fanotify::resolves_handles(file).map(|()| id));
            watch.marks.insert(place.id, mark);
            match resolved {
                Ok(id) => watch.roots.entry(id).or_default().push(file.clone()),
                Err(e) => drop(watch.nameless.insert(place.id, e.to_string())),
            }
        }
        watch
    }

    /// From now on every change is seen. The barrier is up.
    pub fn arm(&mut self, places: &[Places]) {
        for place in places.iter().flat_map(Places::all) {
            let why = match self.nameless.get(&place.id) {
                Some(why) => why.clone(),
                None => match self.add_mark(Scope::FileSystem, &self.marks[&place.id].clone()) {
                    Ok(()) => continue,
                    Err(e) => e.to_string(),
                },
            };
            let shown = ForeignText::of_path(&place.path);
            let cause = match self.add_mark(Scope::Mount, &place.file) {
                Ok(()) => Cause::OnlyMountWatched(shown, why),
                Err(e) => Cause::NotWatched(shown, e.to_string()),
            };
            self.unseen(cause);
        }
    }

    /// Adds a directory to the group of its scope, which is made if it is not there.
    fn add_mark(&mut self, scope: Scope, dir: &File) -> io::Result<()> {
        if let Some(group) = self.groups.iter().find(|group| group.scope() == scope) {
            return group.add(dir);
        }
        let group = Group::new(scope)?;
        group.add(dir)?;
        self.groups.push(group);
        Ok(())
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
    /// What is changed elsewhere on the disk, by whatever user, takes no place from it.
    pub fn take(&mut self, own: impl Fn(i32) -> bool, places: &[Places]) {
        let until = clock::now_ns() + READS_NS;
        // A directory that is gone has left an event where it was, in the queue already:
        // there its place shows. If that one is gone as well, again one above.
        for _ in 0..STALE_ROUNDS {
            if !self.take_once(&own, places, until) {
                break;
            }
        }
    }

    /// True: some directory had been removed before its event was read.
    fn take_once(&mut self, own: &impl Fn(i32) -> bool, places: &[Places], until: u64) -> bool {
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
                    stale |= self.take_event(event, own, places);
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
    fn take_event(&mut self, event: Event, own: &impl Fn(i32) -> bool, places: &[Places]) -> bool {
        let (pid, place, new_dir, content, file) = match event {
            Event::Overflow => {
                self.unseen(Cause::QueueOverflowed);
                return false;
            }
            Event::Malformed => {
                self.unseen(Cause::NotSeen(Subject::Watch, WhyNot::Malformed));
                return false;
            }
            Event::Changed { pid, place, new_dir, content, file } => {
                (pid, place, new_dir, content, file)
            }
        };
        let found = match place {
            Place::Path(path) => path.ok_or(NoPath::Unknown).map(|path| {
                let gates = (0..places.len()).filter(|gate| places[*gate].holds(&path)).collect();
                (Known { path, gates }, None)
            }),
            Place::File { fsid, handle } => {
                if !own(pid) {
                    self.take_file(pid, &fsid, &handle);
                }
                return false;
            }
            Place::Handle { fsid, handle, name } => {
                self.directory(&fsid, &handle).map(|dir| (dir, Some((fsid, handle, name))))
            }
        };
        let (dir, entry) = match found {
            Ok(found) => found,
            Err(NoPath::DirectoryRemoved) => return true,
            Err(NoPath::Unknown) if !own(pid) => {
                self.unseen(Cause::ChangedWithoutPath(pid));
                return false;
            }
            Err(NoPath::Unknown) => return false,
        };
        let stat = || {
            let (fsid, handle, name) = entry.as_ref()?;
            self.roots_of(fsid)
                .find_map(|root| stat_in(&fanotify::directory(root, handle).ok()?, name))
        };
        if dir.gates.is_empty() {
            // Of a file that has other names one may be protected.
            if file
                && entry.as_ref().is_some_and(|(.., name)| is_name(name))
                && let Some(stat) = stat().filter(has_other_names)
                && !own(pid)
            {
                self.add_linked(pid, (stat.st_dev, stat.st_ino));
            }
            return false;
        }
        let path = match &entry {
            Some((.., name)) if is_name(name) => dir.path.join(name),
            _ => dir.path,
        };
        let judged =
            |gate: &usize| !places[*gate].excludes(&path) && !places[*gate].excuses(pid, &path);
        let gates: Vec<usize> = dir.gates.into_iter().filter(judged).collect();
        // What is written to a pipe or device goes elsewhere: a chroot's `dev/null`, or a
        // pipe between services, lies on the file system and is none of its contents.
        let special = || match &entry {
            Some(_) => stat().is_some_and(|stat| !is_file_or_directory(stat.st_mode)),
            None => path.symlink_metadata().is_ok_and(|meta| !is_file_or_directory(meta.mode())),
        };
        let is_none = gates.is_empty() || content && special();
        if !is_none && !own(pid) {
            self.add(FileChange {
                pid,
                program: procfs::stat(pid).map(|s| s.comm),
                path,
                gates,
                new_dir,
            });
        }
        false
    }

    /// A file was changed of which the kernel knows no directory: opened by its handle, as NFS clients
    /// do through this machine's server. Whether it is a protected one is looked for like that of one
    /// with other names.
    fn take_file(&mut self, pid: i32, fsid: &FsId, handle: &[u8]) {
        let opened: Vec<_> =
            self.roots_of(fsid).map(|root| fanotify::directory(root, handle)).collect();
        match opened.iter().find_map(|file| file.as_ref().ok()).map(directory::id) {
            Some(Ok(file)) => self.add_linked(pid, file),
            // It is gone, and its removal is a change of its own.
            None if opened.iter().any(|file| matches!(file, Err(NoDirectory::Removed))) => {}
            None | Some(Err(_)) => self.unseen(Cause::ChangedWithoutPath(pid)),
        }
    }

    /// Directories by which a handle of this file system can be opened; where its id is not known,
    /// all of them.
    fn roots_of(&self, fsid: &FsId) -> impl Iterator<Item = &Arc<File>> {
        let known = self.roots.get(fsid);
        let all = known.is_none().then(|| self.roots.values().flatten());
        known.into_iter().flatten().chain(all.into_iter().flatten())
    }

    /// Where a directory lies, and who protects it.
    fn directory(&mut self, fsid: &FsId, handle: &[u8]) -> Result<Known, NoPath> {
        let key = (*fsid, handle.to_vec());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let found = self.resolve(fsid, handle)?;
        self.known.insert(key, found.clone());
        Ok(found)
    }

    fn resolve(&self, fsid: &FsId, handle: &[u8]) -> Result<Known, NoPath> {
        let mut elsewhere = Err(NoPath::Unknown);
        for root in self.roots_of(fsid) {
            let dir = match fanotify::directory(root, handle) {
                Ok(dir) => dir,
                Err(NoDirectory::Removed) => {
                    elsewhere = elsewhere.or(Err(NoPath::DirectoryRemoved));
                    continue;
                }
                Err(NoDirectory::Unknown) => continue,
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

    fn unseen(&mut self, what: Cause) {
        if !self.blind.contains(&what) {
            self.blind.push(what);
        }
    }

    /// Puts a change down.
    pub fn add(&mut self, change: FileChange) {
        let known = |c: &FileChange| c.pid == change.pid && c.path == change.path;
        if self.changes.iter().any(known) {
            return;
        }
        if self.changes.len() < CHANGES {
            self.changes.push(change);
        } else if !change.is_snapshot() {
            self.more += 1;
        }
    }

    fn add_linked(&mut self, pid: i32, file: FileId) {
        if self.linked.len() == LINKED && !self.linked.contains_key(&file) {
            self.unseen(Cause::TooManyChanges);
            return;
        }
        let linked = || Linked { pid, program: procfs::stat(pid).map(|s| s.comm) };
        self.linked.entry(file).or_insert_with(linked);
    }
}

/// Is it a name in the directory, and not the directory itself?
fn is_name(name: &OsString) -> bool {
    !name.is_empty() && name != "."
}

fn stat_in(dir: &OwnedFd, name: &OsStr) -> Option<FileStat> {
    fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
}

fn has_other_names(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_nlink > 1
}

fn is_file_or_directory(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
}
