//! Watches the protected file systems for changes while the gate is closed.
//!
//! fanotify, armed when all are held and read before the barrier goes down: every
//! event in between went past the gate. It sees neither stores through mappings
//! nor, where only a mount can be marked, names.
//!
//! A change is judged by the directory that it was made in: is that one below a protected one,
//! whatever the name, the mount or the namespace by which it was reached? A file that has other
//! names and is changed elsewhere is looked for below them after the thaw ([`super::hard_links`]).

use super::moment::Moment;
use super::stands::Stands;
use super::whereabouts::{Handle, Known, Named, NoPath, Whereabouts};
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::directory::{self, FileId};
use crate::linux::fanotify::{self, Event, FsId, Group, Place, Scope};
use crate::linux::look::WhyNot;
use crate::linux::procfs;
use crate::outcome::cause::{Cause, Subject};
use crate::places::kind::Kind;
use crate::places::{self, Places};
use nix::sys::stat::FileStat;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
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
/// ... and how long at once: a flood must not hold the thaw up. What is left is read the next time; what is
/// left in the end is not seen, and that is said.
const READS_NS: u64 = 500_000_000;
/// So many changes of protected files by others are put down; the rest is counted.
const CHANGES: usize = 100;
/// The inode of a btrfs subvolume's root (BTRFS_FIRST_FREE_OBJECTID).
const FIRST_INODE_OF_A_SUBVOLUME: u64 = 256;

/// So many files with other names, changed elsewhere, are looked for: any user can make some.
const LINKED: usize = 200_000;

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
    /// The file: its number is given out again when it is gone, its handle never.
    file: Handle,
}

/// The watch.
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
    /// These as this process sees them: through another mount than the service, where that has a mount
    /// namespace of its own.
    own_views: HashMap<FileId, File>,
    /// What could not be seen, and why.
    pub blind: Vec<Cause>,
    /// Where something was mounted or taken away, and of which gate that is.
    pub mounted: BTreeSet<(usize, PathBuf)>,
    stands: Stands,
    armed: Moment,
    /// Devices of file systems on which other machines or programs say when a file was changed.
    other_clocks: BTreeSet<u64>,
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

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            groups: Vec::new(),
            whereabouts: Whereabouts::new(Vec::new()),
            marks: HashMap::new(),
            changes: Vec::new(),
            more: 0,
            linked: BTreeMap::new(),
            nameless: HashMap::new(),
            own_views: HashMap::new(),
            blind: Vec::new(),
            mounted: BTreeSet::new(),
            stands: Stands::default(),
            armed: Moment::default(),
            other_clocks: BTreeSet::new(),
        }
    }
}

impl Watch {
    /// Opens what is needed, before anything is held.
    pub fn prepare(places: &[Places]) -> Watch {
        let tops = places.iter().map(Places::tops).collect();
        let mut watch = Watch { whereabouts: Whereabouts::new(tops), ..Watch::default() };
        for places in places {
            let above = places.dirs.iter().flat_map(|place| {
                directory::with_those_above(&place.file).unwrap_or_else(|_| vec![place.id])
            });
            watch.whereabouts.add_above(above.collect());
        }
        match Stands::note(places) {
            Ok(stands) => watch.stands = stands,
            Err(e) => watch.unseen(Cause::NotSeen(Subject::Watch, WhyNot::of(&e))),
        }
        for place in places.iter().flat_map(Places::all) {
            if matches!(place.kind, Kind::Shared(_)) {
                watch.other_clocks.insert(place.id.0);
            }
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
                Err(e) => {
                    watch.nameless.insert(place.id, e.to_string());
                    watch.own_views.extend(own_view(place).map(|file| (place.id, file)));
                }
            }
        }
        watch
    }

    /// From now on every change is seen. The barrier is up.
    pub fn arm(&mut self, places: &[Places]) {
        self.armed = Moment::now();
        self.begin(places);
        if self.is_armed() {
            self.armed.is_over();
        }
    }

    fn begin(&mut self, places: &[Places]) {
        for place in places.iter().flat_map(Places::all) {
            let why = match self.nameless.get(&place.id) {
                Some(why) => why.clone(),
                None => match self.add_mark(Scope::FileSystem, &self.marks[&place.id].clone()) {
                    Ok(()) => continue,
                    Err(e) => e.to_string(),
                },
            };
            let shown = ForeignText::of_path(&place.path);
            let marked = self.add_mark(Scope::Mount, &place.file).and_then(|()| {
                let own = self.own_views.remove(&place.id);
                own.map_or(Ok(()), |own| self.add_mark(Scope::Mount, &own))
            });
            let cause = match marked {
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

    /// These have something urgent to say then.
    pub fn urgent_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.stands.fds()
    }

    /// Takes what was seen so far of protected files. `own`: is this a process of the command?
    /// What is changed elsewhere on the disk, by whatever user, takes no place from it. `is_last`: what
    /// is left now is not seen any more.
    pub fn take(&mut self, own: &mut dyn FnMut(i32) -> bool, places: &[Places], is_last: bool) {
        match self.stands.look() {
            Ok(found) => self.mounted.extend(found),
            Err(e) => self.unseen(Cause::NotSeen(Subject::Watch, WhyNot::of(&e))),
        }
        let until = clock::now_ns() + READS_NS;
        // A directory that is gone has left an event where it was, in the queue already: there its place
        // shows. If that one is gone as well, again one above. What is not the last is read anyway.
        for _ in 0..if is_last { STALE_ROUNDS } else { 1 } {
            match self.take_once(own, places, until) {
                Taken::Stale => {}
                Taken::All => return,
                Taken::Late if is_last => return self.unseen(Cause::TooManyChanges),
                Taken::Late => return,
            }
        }
    }

    /// Takes what is in the queues at this moment: what comes meanwhile, from somebody who changes things
    /// without end, is not waited for.
    fn take_once(
        &mut self,
        own: &mut dyn FnMut(i32) -> bool,
        places: &[Places],
        until: u64,
    ) -> Taken {
        let mut stale = false;
        let mut buffer = vec![0u8; BUFFER];
        for at in 0..self.groups.len() {
            let mut left = self.groups[at].waiting().unwrap_or(usize::MAX);
            while left > 0 {
                let mut events = Vec::new();
                match self.groups[at].read(&mut buffer, &mut events) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(e) => {
                        self.unseen(Cause::NotSeen(Subject::Watch, WhyNot::of(&e)));
                        break;
                    }
                }
                left = left.saturating_sub(events.len());
                for event in &events {
                    self.note_removal(event);
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

    /// What was done in a directory before it was removed is read before its removal.
    fn note_removal(&mut self, event: &Event) {
        if let Event::Changed { place, gone_dir: true, .. } = event
            && let Place::Handle { fsid, handle, of: Some(gone), .. } = place
        {
            self.whereabouts.gone(fsid, gone.clone(), handle.clone());
        }
    }

    /// True: its directory had been removed.
    fn take_event(
        &mut self,
        event: Event,
        own: &mut dyn FnMut(i32) -> bool,
        places: &[Places],
    ) -> bool {
        let (pid, place, new_dir, new_name, moved_dir, content, file) = match event {
            Event::Overflow => {
                self.unseen(Cause::QueueOverflowed);
                return false;
            }
            Event::Malformed => {
                self.unseen(Cause::NotSeen(Subject::Watch, WhyNot::Malformed));
                return false;
            }
            Event::Changed { closed: true, ref place, .. } if !self.may_be_changed(place) => {
                return false;
            }
            Event::Changed { pid, place, new_dir, new_name, moved_dir, content, file, .. } => {
                (pid, place, new_dir, new_name, moved_dir, content, file)
            }
        };
        let found = match place {
            Place::Path(path, _) => path.ok_or(NoPath::Unknown(WhyNot::Malformed)).map(|path| {
                let gates = (0..places.len()).filter(|gate| places[*gate].holds(&path)).collect();
                (Known { path, gates }, None)
            }),
            Place::File { fsid, handle } => {
                self.take_file(pid, (fsid, handle), own);
                return false;
            }
            Place::Handle { fsid, handle, name, of } => self
                .whereabouts
                .directory(&fsid, &handle)
                .map(|dir| (dir, Some((fsid, handle, name, of)))),
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
        if dir.gates.is_empty() {
            if let Some((fsid, _, name, of)) = entry.filter(|(_, _, name, _)| is_name(name)) {
                match &of {
                    Some(made) if new_dir => {
                        self.whereabouts.made(&fsid, made.clone(), dir.path.join(&name));
                    }
                    Some(file) if new_name => self.whereabouts.named(&fsid, file),
                    Some(moved) if moved_dir => {
                        let gates = self.whereabouts.lie_below(&fsid, moved);
                        if !gates.is_empty() && !own(pid) {
                            let program = procfs::stat(pid).map(|s| s.comm);
                            let path = dir.path.join(&name);
                            self.add(FileChange { pid, program, path, gates, new_dir });
                        }
                        return false;
                    }
                    _ => {}
                }
                if file {
                    self.take_elsewhere(pid, (&dir, &fsid), (&name, of), own);
                }
            }
            return false;
        }
        let stat = || {
            let (fsid, handle, name, _) = entry.as_ref()?;
            self.whereabouts.stat(fsid, handle, name).ok()
        };
        let path = match &entry {
            Some((_, _, name, _)) if is_name(name) => dir.path.join(name),
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

    /// A file was closed that had been open for writing, and no more is told. May it have been changed since we
    /// watch: by a store through a mapping, by native aio? Its time of change says so, which nobody can set
    /// (where it is of this machine's clock).
    fn may_be_changed(&self, place: &Place) -> bool {
        let file = match place {
            Place::Path(_, stat) => stat.ok_or(NoPath::Unknown(WhyNot::Malformed)),
            Place::Handle { fsid, of: Some(file), .. } | Place::File { fsid, handle: file } => {
                self.whereabouts.file(fsid, file).map(|named| named.stat)
            }
            Place::Handle { fsid, handle, name, of: None } => {
                self.whereabouts.stat(fsid, handle, name)
            }
        };
        match file {
            Ok(stat) => {
                !self.other_clocks.contains(&stat.st_dev)
                    && self.armed.is_before(fanotify::changed_at(&stat), Moment::now())
            }
            // That is a change of its own.
            Err(NoPath::Removed) => false,
            Err(NoPath::Unknown(_)) => true,
        }
    }

    /// A file was changed that lies in a directory that is not protected: of its other names one may be.
    fn take_elsewhere(
        &mut self,
        pid: i32,
        (dir, fsid): (&Known, &FsId),
        (name, of): (&OsString, Option<Vec<u8>>),
        own: &mut dyn FnMut(i32) -> bool,
    ) {
        match of {
            Some(handle) if self.whereabouts.is_born_elsewhere(fsid, &handle, false) => {}
            Some(handle) => {
                self.take_names(pid, (*fsid, handle), Some(&dir.path.join(name)), own);
            }
            None if own(pid) => {}
            None => self.unseen(Cause::ChangedWithoutPath(pid, WhyNot::Malformed)),
        }
    }

    /// May a protected name be one of this file's? `changed`: the name by which it was changed.
    fn take_names(
        &mut self,
        pid: i32,
        file: Handle,
        changed: Option<&Path>,
        own: &mut dyn FnMut(i32) -> bool,
    ) {
        match self.whereabouts.file(&file.0, &file.1) {
            // With its last name: that of a protected one is a change of its own. (Whose it was is asked
            // last: that costs more.)
            Err(NoPath::Removed) => {}
            Ok(named) if !is_regular(&named.stat) || self.is_elsewhere(&named, changed) => {}
            _ if own(pid) => {}
            Ok(Named { stat, .. }) => self.add_linked(pid, (stat.st_dev, stat.st_ino), file),
            Err(NoPath::Unknown(why)) => self.unseen(Cause::ChangedWithoutPath(pid, why)),
        }
    }

    /// Has it no name any more, or a single one that lies in no protected directory? It may have been
    /// renamed, or have lost the name by which it was changed.
    fn is_elsewhere(&self, file: &Named, changed: Option<&Path>) -> bool {
        let Some(now) = file.path.as_deref().filter(|_| file.stat.st_nlink == 1) else {
            return file.stat.st_nlink == 0;
        };
        changed == Some(now) || now.parent().is_some_and(|dir| self.whereabouts.is_elsewhere(dir))
    }

    /// A file was changed of which the kernel knows no directory: opened by its handle, as NFS clients
    /// do through this machine's server. Whether it is a protected one is looked for like that of one
    /// with other names.
    fn take_file(&mut self, pid: i32, file: Handle, own: &mut dyn FnMut(i32) -> bool) {
        if !self.whereabouts.is_born_elsewhere(&file.0, &file.1, true) {
            self.take_names(pid, file, None, own);
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

    /// Of two files of one number the later one lives: the number was free for it.
    fn add_linked(&mut self, pid: i32, id: FileId, file: Handle) {
        if self.linked.get(&id).is_some_and(|known| known.file == file) {
            return;
        }
        if self.linked.len() == LINKED && !self.linked.contains_key(&id) {
            self.unseen(Cause::TooManyChanges);
            return;
        }
        let program = procfs::stat(pid).map(|s| s.comm);
        self.linked.insert(id, Linked { pid, program, file });
    }

    /// Who has changed the file of this number, if that is still the same file: one that is gone, and so
    /// has no name any more, has left its number to the next.
    pub fn linked_as(&self, id: FileId) -> Option<&Linked> {
        let linked = self.linked.get(&id)?;
        match self.whereabouts.file(&linked.file.0, &linked.file.1) {
            Ok(named) => (named.stat.st_nlink > 0).then_some(linked),
            Err(NoPath::Removed) => None,
            Err(NoPath::Unknown(_)) => Some(linked),
        }
    }
}

/// The directory as this process sees it, if that is the same one.
fn own_view(place: &places::Place) -> Option<File> {
    let file = File::open(&place.path).ok()?;
    directory::id(&file).is_ok_and(|id| id == place.id).then_some(file)
}

/// Is it a name in the directory, and not the directory itself?
fn is_name(name: &OsString) -> bool {
    !name.is_empty() && name != "."
}

fn is_regular(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

fn is_file_or_directory(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
}
