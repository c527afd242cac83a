//! Watches the protected file systems for changes while the gate is closed.
//!
//! fanotify, armed when everybody is held and read before the barrier goes down: every
//! event in between went past the gate. It sees neither stores through mappings
//! nor, where only a mount can be marked (btrfs subvolumes), names.

use super::places::Places;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Changes to contents, names and metadata.
const NAMES: u64 = libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_ONDIR;
/// How often it is read again because directories had been removed meanwhile: so many,
/// one within the other, would have to go, each between two reads. What is removed
/// elsewhere on a busy disk without end must not count against the snapshot.
const STALE_ROUNDS: usize = 8;
/// What a mark on a mount can see.
const CONTENTS: u64 = libc::FAN_MODIFY;

/// One change that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who, as the kernel numbers it for us.
    pub pid: i32,
    /// Its name, if it still lived when it was asked.
    pub program: Option<String>,
    /// Belongs to the snapshot command.
    pub own: bool,
    /// What was changed.
    pub path: PathBuf,
    /// A new directory (a snapshot of btrfs is one).
    pub new_dir: bool,
}

/// What could not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind(pub String);

struct Group {
    fd: OwnedFd,
    by_name: bool,
}

/// The watch.
#[derive(Default)]
pub struct Watch {
    groups: Vec<Group>,
    /// A directory of each file system, by its id.
    roots: HashMap<(i32, i32), File>,
    /// What was seen so far.
    pub changes: Vec<Change>,
    /// What could not be seen, and why.
    pub blind: Vec<Blind>,
}

fn init(flags: u32) -> io::Result<OwnedFd> {
    let all = flags | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_CLASS_NOTIF;
    let open = (libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC) as u32;
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::fanotify_init(all, open) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn mark(group: &OwnedFd, what: u32, mask: u64, dir: &Path) -> io::Result<()> {
    let path = crate::linux::sys::c_path(dir);
    let flags = libc::FAN_MARK_ADD | what;
    // SAFETY: `path` is a C string.
    let done = unsafe {
        libc::fanotify_mark(group.as_raw_fd(), flags, mask, libc::AT_FDCWD, path.as_ptr())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The id of the file system of an open file.
fn fsid(file: &File) -> Option<(i32, i32)> {
    // SAFETY: all zero bytes are a valid statfs; the descriptor is open.
    let (ok, found) = unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        (libc::fstatfs(file.as_raw_fd(), &mut found) == 0, found)
    };
    // SAFETY: fsid_t is two ints, whose names libc keeps private.
    ok.then(|| unsafe { std::mem::transmute::<libc::fsid_t, (i32, i32)>(found.f_fsid) })
}

impl Watch {
    /// Opens what is needed, before anybody is held.
    pub fn prepare(places: &[Places]) -> Watch {
        let mut watch = Watch::default();
        for dir in places.iter().flat_map(|p| &p.dirs) {
            if let Ok(file) = File::open(dir)
                && let Some(id) = fsid(&file)
            {
                watch.roots.entry(id).or_insert(file);
            }
        }
        watch
    }

    /// From now on every change is seen. The barrier is up.
    pub fn arm(&mut self, places: &[Places]) {
        let mut dirs: Vec<&PathBuf> = places.iter().flat_map(|p| &p.dirs).collect();
        dirs.sort();
        dirs.dedup();
        let mut names: Option<OwnedFd> = None;
        let mut contents: Option<OwnedFd> = None;
        let flags = libc::FAN_REPORT_DIR_FID | libc::FAN_REPORT_NAME;
        for dir in dirs {
            let by_name = match &names {
                Some(group) => mark(group, libc::FAN_MARK_FILESYSTEM, NAMES, dir),
                None => init(flags).and_then(|group| {
                    let marked = mark(&group, libc::FAN_MARK_FILESYSTEM, NAMES, dir);
                    names = Some(group);
                    marked
                }),
            };
            let Err(why) = by_name else { continue };
            let by_mount = match &contents {
                Some(group) => mark(group, libc::FAN_MARK_MOUNT, CONTENTS, dir),
                None => init(0).and_then(|group| {
                    let marked = mark(&group, libc::FAN_MARK_MOUNT, CONTENTS, dir);
                    contents = Some(group);
                    marked
                }),
            };
            let text = match by_mount {
                Ok(()) => format!(
                    "{}: only writes through this mount are seen, not names ({why})",
                    dir.display()
                ),
                Err(e) => format!("{}: changes cannot be watched for ({e})", dir.display()),
            };
            self.blind.push(Blind(text));
        }
        self.groups.extend(names.map(|fd| Group { fd, by_name: true }));
        self.groups.extend(contents.map(|fd| Group { fd, by_name: false }));
    }

    /// Is anything watched at all?
    pub fn is_armed(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Readable when something was seen.
    pub fn fds(&self) -> Vec<RawFd> {
        self.groups.iter().map(|g| g.fd.as_raw_fd()).collect()
    }

    /// Takes what was seen so far. `own`: is this a process of the command?
    pub fn take(&mut self, own: impl Fn(i32) -> bool) {
        // A directory that is gone has left an event where it was, in the queue already:
        // there its place shows. If that one is gone as well, again one above.
        for _ in 0..STALE_ROUNDS {
            if !self.take_once(&own) {
                break;
            }
        }
    }

    /// True: some directory had been removed before its event was read.
    fn take_once(&mut self, own: &impl Fn(i32) -> bool) -> bool {
        let (mut stale, mut flood) = (false, false);
        let mut buffer = vec![0u8; 256 * 1024];
        let mut seen = Vec::new();
        for group in &self.groups {
            // A flood must not hold the thaw up: what is left is unknown then.
            for round in 0.. {
                // SAFETY: `buffer` is writable for its length.
                let got = unsafe {
                    libc::read(group.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len())
                };
                if got <= 0 {
                    break;
                }
                if round == 64 {
                    flood = true;
                    break;
                }
                parse(&buffer[..got as usize], group.by_name, &mut seen);
            }
        }
        if flood {
            self.unseen("too many changes to look at".into());
        }
        for event in seen {
            match event {
                Event::Overflow => {
                    self.unseen("the kernel's queue of changes overflowed".into());
                }
                Event::At { pid, path, new_dir, content } => {
                    let path = match path.resolve(&self.roots) {
                        Ok(path) => path,
                        Err(NoPath::DirectoryRemoved) => {
                            stale = true;
                            continue;
                        }
                        Err(NoPath::Unknown) => {
                            self.unseen(format!("pid {pid} changed a file that has no path"));
                            continue;
                        }
                    };
                    if !(content && is_special(&path)) {
                        self.add(pid, path, new_dir, own);
                    }
                }
            }
        }
        stale
    }

    fn unseen(&mut self, what: String) {
        let what = Blind(what);
        if !self.blind.contains(&what) {
            self.blind.push(what);
        }
    }

    fn add(&mut self, pid: i32, path: PathBuf, new_dir: bool, own: &impl Fn(i32) -> bool) {
        let known = |c: &Change| c.pid == pid && c.path == path;
        if self.changes.len() < 1000 && !self.changes.iter().any(known) {
            let program = crate::linux::procfs::stat(pid).map(|s| s.comm);
            self.changes.push(Change { pid, program, own: own(pid), path, new_dir });
        }
    }
}

/// What is written to a pipe or device goes elsewhere: a chroot's `dev/null`, or a
/// pipe between services, lies on the file system and is none of its contents.
fn is_special(path: &Path) -> bool {
    let kind = path.symlink_metadata().map(|meta| meta.file_type());
    kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
}

enum Event {
    Overflow,
    /// `content`: it was written to, and nothing else.
    At {
        pid: i32,
        path: At,
        new_dir: bool,
        content: bool,
    },
}

/// Where an event was, as the kernel says it.
enum At {
    /// A directory's handle on a file system, and a name in it.
    Handle { fsid: (i32, i32), handle: Vec<u8>, name: OsString },
    /// A descriptor that was opened for us.
    Path(Option<PathBuf>),
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

impl At {
    fn resolve(&self, roots: &HashMap<(i32, i32), File>) -> Result<PathBuf, NoPath> {
        match self {
            At::Path(path) => path.clone().ok_or(NoPath::Unknown),
            At::Handle { fsid, handle, name } => {
                let root = roots.get(fsid).ok_or(NoPath::Unknown)?;
                // SAFETY: `handle` holds a file_handle as the kernel wrote it, with
                // as many bytes as it says.
                let fd = unsafe {
                    libc::syscall(
                        libc::SYS_open_by_handle_at,
                        root.as_raw_fd(),
                        handle.as_ptr(),
                        libc::O_PATH | libc::O_CLOEXEC,
                    )
                };
                if fd < 0 {
                    // Gone, or going as it was looked for.
                    let error = io::Error::last_os_error().raw_os_error();
                    let gone = matches!(error, Some(libc::ESTALE | libc::ENOENT));
                    return Err(if gone { NoPath::DirectoryRemoved } else { NoPath::Unknown });
                }
                // SAFETY: the kernel has just given it to us.
                let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
                let dir = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
                    .map_err(|_| NoPath::Unknown)?;
                Ok(if name.is_empty() || name == "." { dir } else { dir.join(name) })
            }
        }
    }
}

const METADATA: usize = std::mem::size_of::<libc::fanotify_event_metadata>();

fn parse(mut bytes: &[u8], by_name: bool, events: &mut Vec<Event>) {
    while bytes.len() >= METADATA {
        // SAFETY: long enough; the kernel aligns nothing, so it is copied out.
        let meta: libc::fanotify_event_metadata =
            unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        let len = meta.event_len as usize;
        if len < METADATA || len > bytes.len() {
            return;
        }
        let info = &bytes[METADATA..len];
        bytes = &bytes[len..];
        if meta.mask & libc::FAN_Q_OVERFLOW != 0 {
            events.push(Event::Overflow);
            continue;
        }
        let path = if by_name {
            handle_of(info)
        } else {
            // SAFETY: the kernel has opened it for us.
            let fd = (meta.fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(meta.fd) });
            let link = fd.and_then(|fd| {
                std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
            });
            At::Path(link)
        };
        let new_dir = meta.mask & libc::FAN_CREATE != 0 && meta.mask & libc::FAN_ONDIR != 0;
        let content = meta.mask & NAMES & !libc::FAN_ONDIR == libc::FAN_MODIFY;
        events.push(Event::At { pid: meta.pid, path, new_dir, content });
    }
}

/// The directory and name in an event's information.
fn handle_of(info: &[u8]) -> At {
    // header: type, padding, length (4); fsid (8); file_handle: bytes (4), type (4),
    // handle; then the name.
    let number = |at: usize| {
        let bytes: Option<[u8; 4]> = info.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(i32::from_ne_bytes)
    };
    let parts = (|| {
        let len = u16::from_ne_bytes(info.get(2..4)?.try_into().ok()?) as usize;
        let fsid = (number(4)?, number(8)?);
        let handle_len = number(12)? as usize;
        let handle = info.get(12..20 + handle_len)?.to_vec();
        let name = info.get(20 + handle_len..len)?;
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        Some(At::Handle { fsid, handle, name: OsString::from_vec(name[..end].to_vec()) })
    })();
    parts.unwrap_or(At::Path(None))
}
