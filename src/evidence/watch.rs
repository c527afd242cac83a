//! Watches the protected file systems for changes while the gate is closed.
//!
//! fanotify, armed when all are held and read before the barrier goes down: every
//! event in between went past the gate. It sees neither stores through mappings
//! nor, where only a mount can be marked, names.
//!
//! A change is judged by the directory that it was made in: is that one below a protected one,
//! whatever the name, the mount or the namespace by which it was reached? A file that has other
//! names and is changed elsewhere is looked for below them after the thaw ([`super::hard_links`]).

use super::whereabouts::{Known, NoPath, Whereabouts};
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::directory::FileId;
use crate::linux::fanotify::{self, Event, FsId, Group, Place, Scope};
use crate::linux::look::WhyNot;
use crate::linux::procfs;
use crate::outcome::finding::{Cause, Subject};
use crate::places::Places;
use crate::places::kind::Kind;
use nix::sys::stat::FileStat;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// How often it is read again because directories had been removed meanwhile: so many,
/// one within the other, would have to go, each between two reads. What is removed
/// elsewhere on a busy disk without end must not count against the snapshot.
const STALE_ROUNDS: usize = 8;
/// How much is read at a time, ...
const BUFFER: usize = 256 * 1024;
/// ... and how long at once: a flood must not hold the thaw up. What is left is read the next time; what is
/// left in the end is not seen, and that is said.
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

/// The watch.
#[derive(Default)]
pub struct Watch {
    groups: Vec<Group>,
    whereabouts: Whereabouts,
    /// By what the file system of each place is watched.
    marks: HashMap<FileId, Arc<File>>,
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

/// What came of one read of all that is there.
enum Taken {
    /// All was judged.
    All,
    /// Some directory had been removed before its event was read.
    Stale,
    /// The time was over before the end.
    Late,
}

impl Watch {
    /// Opens what is needed, before anything is held.
    pub fn prepare(places: &[Places]) -> Watch {
        let whereabouts = Whereabouts::new(places.iter().map(Places::tops).collect());
        let mut watch = Watch { whereabouts, ..Watch::default() };
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
                Ok(id) => watch.whereabouts.add_root(id, file.clone()),
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
    /// What is changed elsewhere on the disk, by whatever user, takes no place from it. `is_last`: what
    /// is left now is not seen any more.
    pub fn take(&mut self, own: impl Fn(i32) -> bool, places: &[Places], is_last: bool) {
        let until = clock::now_ns() + READS_NS;
        // A directory that is gone has left an event where it was, in the queue already:
        // there its place shows. If that one is gone as well, again one above.
        for _ in 0..STALE_ROUNDS {
            match self.take_once(&own, places, until) {
                Taken::Stale => {}
                Taken::All => return,
                Taken::Late if is_last => return self.unseen(Cause::TooManyChanges),
                Taken::Late => return,
            }
        }
    }

    fn take_once(&mut self, own: &impl Fn(i32) -> bool, places: &[Places], until: u64) -> Taken {
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
                    return Taken::Late;
                }
            }
        }
        if stale { Taken::Stale } else { Taken::All }
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
            Place::Path(path) => path.ok_or(NoPath::Unknown(WhyNot::Malformed)).map(|path| {
                let gates = (0..places.len()).filter(|gate| places[*gate].holds(&path)).collect();
                (Known { path, gates }, None)
            }),
            Place::File { fsid, handle } => {
                if !own(pid) {
                    self.take_file(pid, &fsid, &handle);
                }
                return false;
            }
            Place::Handle { fsid, handle, name } => self
                .whereabouts
                .directory(&fsid, &handle)
                .map(|dir| (dir, Some((fsid, handle, name)))),
        };
        let (dir, entry) = match found {
            Ok(found) => found,
            Err(NoPath::Removed) => return true,
            Err(NoPath::Unknown(why)) if !own(pid) => {
                self.unseen(Cause::ChangedWithoutPath(pid, why));
                return false;
            }
            Err(NoPath::Unknown(_)) => return false,
        };
        let stat = || {
            let (fsid, handle, name) = entry.as_ref()?;
            self.whereabouts.stat(fsid, handle, name)
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
        match self.whereabouts.file(fsid, handle) {
            Ok(file) => self.add_linked(pid, file),
            // Its removal is a change of its own.
            Err(NoPath::Removed) => {}
            Err(NoPath::Unknown(why)) => self.unseen(Cause::ChangedWithoutPath(pid, why)),
        }
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

fn has_other_names(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_nlink > 1
}

fn is_file_or_directory(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
}
