//! Changes to files, as fanotify tells them. (nix does not read the records that name a file
//! by its directory's handle.)
#![allow(unsafe_code)]

use crate::linux::clock;
use crate::linux::look::WhyNot;
use libc::fanotify_event_metadata as Metadata;
use nix::sys::stat::{FileStat, fstat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What is told of a whole file system: changes to contents, names and metadata. Of a store through a mapping,
/// of native aio and of some requests to a file system nothing is told but that the file is closed afterwards.
const NAMES: u64 = libc::FAN_MODIFY
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ATTRIB
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_ONDIR;
/// The version of the records (FANOTIFY_METADATA_VERSION).
const VERSION: u8 = 3;
/// What is told of a mount.
const CONTENTS: u64 = libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE;
/// What tells of a change of content, or that there may have been one.
const WRITTEN: u64 = libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE;

/// The id of a file system.
pub type FsId = (i32, i32);

/// What a group listens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Whole file systems, by name.
    FileSystem,
    /// Writes through mounts, where names cannot be had (btrfs subvolumes).
    Mount,
}

/// One listener.
pub struct Group {
    file: File,
    scope: Scope,
}

/// What was told.
pub enum Event {
    /// The kernel's queue was full: events are lost.
    Overflow,
    /// It cannot be read: what it and those behind it tell is lost.
    Malformed,
    /// A file was changed.
    Changed {
        /// The process, as the kernel numbers it for us.
        pid: i32,
        /// Where.
        place: Place,
        /// A new directory.
        new_dir: bool,
        /// A new name of a file: of a new one, or of one that is there (whose change of its number of
        /// names was told before, as that of a file without a directory).
        new_name: bool,
        /// A directory that is no more.
        gone_dir: bool,
        /// A directory that has another name now.
        moved_dir: bool,
        /// It was written to, and nothing else.
        content: bool,
        /// The file itself was changed, and not only a name.
        file: bool,
        /// All that is told: it was open for writing, and is not any more.
        closed: bool,
    },
}

/// Where a change was, as the kernel says it.
pub enum Place {
    /// A directory's handle on a file system, and a name in it.
    Handle {
        /// The file system.
        fsid: FsId,
        /// The directory.
        handle: Vec<u8>,
        /// Empty or `.`: the directory itself.
        name: OsString,
        /// The handle of what was changed, where that is told: it may have another name by now.
        of: Option<Vec<u8>>,
    },
    /// A file's handle on a file system: the kernel knows no directory of it.
    File {
        /// The file system.
        fsid: FsId,
        /// The file.
        handle: Vec<u8>,
    },
    /// A descriptor that was opened for us: its path, and what it is. None: that cannot be told.
    Path(Option<PathBuf>, Option<FileStat>),
}

/// Why a directory cannot be opened by its handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoDirectory {
    /// It is gone, or going as it was looked for.
    Removed,
    /// It cannot be told.
    Unknown(WhyNot),
}

impl Group {
    /// A listener that is told nothing yet.
    pub fn new(scope: Scope) -> io::Result<Group> {
        let named = match scope {
            // With the file's own handle too: of a file that was opened by its handle (by the kernel's
            // NFS server, for one) the kernel knows no directory, and would tell nothing.
            Scope::FileSystem => {
                libc::FAN_REPORT_FID | libc::FAN_REPORT_DIR_FID | libc::FAN_REPORT_NAME
            }
            Scope::Mount => 0,
        };
        let plain = named | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_CLASS_NOTIF;
        // What was made or taken away, by its handle too: before Linux 5.17 that is not told. The queue
        // is as long as it must be: others who change much elsewhere cut nothing off.
        let more = if named == 0 { 0 } else { libc::FAN_REPORT_TARGET_FID };
        let tries = [more | libc::FAN_UNLIMITED_QUEUE, libc::FAN_UNLIMITED_QUEUE, 0];
        let open = (libc::O_RDONLY | libc::O_LARGEFILE | libc::O_CLOEXEC) as u32;
        // SAFETY: takes numbers only.
        let init = |more: u32| unsafe { libc::fanotify_init(plain | more, open) };
        let made = tries.into_iter().map(init).find(|fd| *fd >= 0);
        let Some(fd) = made else { return Err(io::Error::last_os_error()) };
        // SAFETY: the call has just made this descriptor, and nothing else knows it.
        Ok(Group { file: unsafe { File::from_raw_fd(fd) }, scope })
    }

    /// From now on it is told of what this directory lies on.
    pub fn add(&self, dir: &File) -> io::Result<()> {
        let (what, mask) = match self.scope {
            Scope::FileSystem => (libc::FAN_MARK_FILESYSTEM, NAMES),
            Scope::Mount => (libc::FAN_MARK_MOUNT, CONTENTS),
        };
        let (group, flags) = (self.file.as_raw_fd(), libc::FAN_MARK_ADD | what);
        // SAFETY: numbers; without a path the descriptor itself is meant.
        let done =
            unsafe { libc::fanotify_mark(group, flags, mask, dir.as_raw_fd(), std::ptr::null()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What it listens to.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Readable when something was told.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// How many events wait to be read.
    pub fn waiting(&self) -> io::Result<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the kernel writes one int, for which `bytes` is there.
        let done = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::FIONREAD, &mut bytes) };
        // Counted without what stands behind the first part of each (fanotify_ioctl).
        match done {
            0 => Ok(bytes as usize / size_of::<Metadata>()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Takes what fits into `buffer`. False: there is nothing.
    pub fn read(&self, buffer: &mut [u8], events: &mut Vec<Event>) -> io::Result<bool> {
        match (&self.file).read(buffer) {
            Ok(got) => {
                parse(&buffer[..got], self.scope, events);
                Ok(got > 0)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e),
        }
    }
}

/// The records that one read has brought.
pub fn parse(mut bytes: &[u8], scope: Scope, events: &mut Vec<Event>) {
    while bytes.len() >= size_of::<Metadata>() {
        // SAFETY: that many bytes are there, any of them make valid integers, and the place need
        // not be aligned.
        let meta: Metadata = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        let len = meta.event_len as usize;
        if len < size_of::<Metadata>() || len > bytes.len() || meta.vers != VERSION {
            events.push(Event::Malformed);
            return;
        }
        let info = &bytes[size_of::<Metadata>()..len];
        bytes = &bytes[len..];
        if meta.mask & libc::FAN_Q_OVERFLOW != 0 {
            events.push(Event::Overflow);
            continue;
        }
        let place = match scope {
            Scope::FileSystem => place_by_handle(info),
            Scope::Mount => opened_for_us(meta.fd),
        };
        let new_dir = meta.mask & libc::FAN_CREATE != 0 && meta.mask & libc::FAN_ONDIR != 0;
        let new_name = meta.mask & libc::FAN_CREATE != 0 && meta.mask & libc::FAN_ONDIR == 0;
        let gone_dir = meta.mask & libc::FAN_DELETE != 0 && meta.mask & libc::FAN_ONDIR != 0;
        let moved_dir = meta.mask & (libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO) != 0
            && meta.mask & libc::FAN_ONDIR != 0;
        let told = meta.mask & NAMES & !libc::FAN_ONDIR;
        let content = told != 0 && told & !WRITTEN == 0;
        let file =
            meta.mask & (WRITTEN | libc::FAN_ATTRIB) != 0 && meta.mask & libc::FAN_ONDIR == 0;
        let closed = told == libc::FAN_CLOSE_WRITE;
        let pid = meta.pid;
        events.push(Event::Changed {
            pid,
            place,
            new_dir,
            new_name,
            gone_dir,
            moved_dir,
            content,
            file,
            closed,
        });
    }
}

/// What is behind an event's descriptor, which is closed.
fn opened_for_us(fd: RawFd) -> Place {
    if fd < 0 {
        return Place::Path(None, None);
    }
    // SAFETY: the kernel opened it for this event, which is read once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Place::Path(path_of(&fd).ok(), fstat(&fd).ok())
}

/// When a file was changed last, on the wall clock, ns.
pub fn changed_at(stat: &FileStat) -> u64 {
    (stat.st_ctime as u64).saturating_mul(1_000_000_000).saturating_add(stat.st_ctime_nsec as u64)
}

/// Where an open file lies, as the kernel shows it.
pub fn path_of(fd: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// What an event's information says: the directory and name, where it has them, else the file.
fn place_by_handle(mut info: &[u8]) -> Place {
    // struct fanotify_event_info_header: type, padding, length (2 bytes).
    const HEADER: usize = 4;
    const LENGTH: usize = 2;
    let (mut in_directory, mut file) = (None, None);
    while info.len() >= HEADER {
        let len = u16::from_ne_bytes([info[LENGTH], info[LENGTH + 1]]) as usize;
        if len < HEADER || len > info.len() {
            break;
        }
        let (record, rest) = info.split_at(len);
        match (record[0], handle_and_name(record)) {
            (libc::FAN_EVENT_INFO_TYPE_DFID_NAME | libc::FAN_EVENT_INFO_TYPE_DFID, Some(found)) => {
                in_directory = in_directory.or(Some(found));
            }
            (libc::FAN_EVENT_INFO_TYPE_FID, Some((fsid, handle, _))) => file = Some((fsid, handle)),
            _ => {}
        }
        info = rest;
    }
    match (in_directory, file) {
        (Some((fsid, handle, name)), of) => {
            Place::Handle { fsid, handle, name, of: of.map(|(_, handle)| handle) }
        }
        (None, Some((fsid, handle))) => Place::File { fsid, handle },
        (None, None) => Place::Path(None, None),
    }
}

/// What one record of a handle says.
fn handle_and_name(record: &[u8]) -> Option<(FsId, Vec<u8>, OsString)> {
    // struct fanotify_event_info_fid: the header; fsid (8); then a struct file_handle: bytes (4),
    // type (4), handle; then the name.
    const FSID: usize = 4;
    const FILE_HANDLE: usize = 12;
    const HANDLE: usize = 20;
    let number = |at: usize| {
        let bytes: Option<[u8; 4]> = record.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map(i32::from_ne_bytes)
    };
    let fsid = (number(FSID)?, number(FSID + 4)?);
    let handle_end = HANDLE + usize::try_from(number(FILE_HANDLE)?).ok()?;
    let handle = record.get(FILE_HANDLE..handle_end)?.to_vec();
    let name = record.get(handle_end..)?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Some((fsid, handle, OsString::from_vec(name[..end].to_vec())))
}

/// Opens the file or directory with this handle, through the mount that `root` lies on.
pub fn directory(root: &File, handle: &[u8]) -> Result<OwnedFd, NoDirectory> {
    by_handle(root, handle, libc::O_PATH)
}

/// The top of the btrfs that a directory lies on. A file system can be watched by its top alone: a
/// subvolume has an id of its own (EXDEV).
pub fn top_of_btrfs(dir: &File) -> Result<File, NoDirectory> {
    // struct btrfs_fid without a parent (BTRFS_FILEID_INO64_GEN, fs/btrfs/export.h): the first
    // directory (256) of the first subvolume (5), of whatever generation (0).
    const BYTES: u32 = 20;
    const WITHOUT_PARENT: u32 = 0x4d;
    let mut handle = [BYTES, WITHOUT_PARENT].map(u32::to_ne_bytes).concat();
    handle.extend([256u64, 5].map(u64::to_ne_bytes).concat());
    handle.extend(0u32.to_ne_bytes());
    by_handle(dir, &handle, libc::O_RDONLY | libc::O_DIRECTORY).map(File::from)
}

/// How often a handle is opened anew for which the kernel has no memory, and what is waited before. ext4
/// says so, too, of a directory that is gone and whose inode is just being made another file's.
const TRIES: usize = 20;
const BETWEEN_TRIES_NS: u64 = 100_000;

fn by_handle(root: &File, handle: &[u8], flags: i32) -> Result<OwnedFd, NoDirectory> {
    let mut found = by_handle_once(root, handle, flags);
    for _ in 1..TRIES {
        if !matches!(found, Err(NoDirectory::Unknown(WhyNot::Errno(libc::ENOMEM)))) {
            break;
        }
        clock::sleep_ns(BETWEEN_TRIES_NS);
        found = by_handle_once(root, handle, flags);
    }
    found
}

fn by_handle_once(root: &File, handle: &[u8], flags: i32) -> Result<OwnedFd, NoDirectory> {
    // The kernel reads as many bytes behind the two numbers as the first of them says.
    const NUMBERS: usize = 8;
    let says = handle.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize);
    if says.is_none_or(|bytes| handle.len() < NUMBERS + bytes) {
        return Err(NoDirectory::Unknown(WhyNot::Malformed));
    }
    // SAFETY: `handle` holds the two numbers of a file_handle and as many bytes as the first of
    // them says (checked above).
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            root.as_raw_fd(),
            handle.as_ptr(),
            flags | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        let why = WhyNot::of(&io::Error::last_os_error());
        let removed = matches!(why, WhyNot::Errno(libc::ESTALE | libc::ENOENT));
        return Err(if removed { NoDirectory::Removed } else { NoDirectory::Unknown(why) });
    }
    // SAFETY: the call has just made this descriptor, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Any user can make a path that is longer than can be told (PATH_MAX): so far it is climbed.
const CLIMBED: usize = 4096;

/// The path of a directory, or, where that is too long, of the nearest one above it that can be told: it
/// lies below the same protected directories.
pub fn path_or_ancestors(mut dir: OwnedFd) -> Option<PathBuf> {
    use nix::fcntl::{OFlag, openat};
    for _ in 0..CLIMBED {
        match path_of(&dir) {
            Ok(path) => return Some(path),
            Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => {}
            Err(_) => return None,
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        dir = openat(&dir, "..", flags, nix::sys::stat::Mode::empty()).ok()?;
    }
    None
}

/// The handle of a directory.
pub fn handle_of(dir: impl AsFd) -> io::Result<Vec<u8>> {
    // A struct file_handle: bytes (4), type (4), handle.
    const ROOM: usize = 128;
    let mut handle = vec![0u8; 8 + ROOM];
    handle[..4].copy_from_slice(&(ROOM as u32).to_ne_bytes());
    let mut mount = 0i32;
    // SAFETY: the path is empty and ends with a NUL; `handle` has room for as many bytes as its first
    // number says, and `mount` is one int for the kernel to fill.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_fd().as_raw_fd(),
            c"".as_ptr(),
            handle.as_mut_ptr(),
            &mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done == 0 { Ok(handle) } else { Err(io::Error::last_os_error()) }
}

/// Can a directory be found by its handle, here and by us? Tried with this one.
pub fn resolves_handles(dir: &File) -> io::Result<()> {
    match directory(dir, &handle_of(dir)?) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// The id of the file system of an open file.
pub fn fsid(file: &File) -> io::Result<FsId> {
    let found = nix::sys::statfs::fstatfs(file)?.filesystem_id();
    // SAFETY: fsid_t is two ints, whose names libc keeps private.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, FsId>(found) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_that_claims_more_than_there_is_is_not_shown_to_the_kernel() {
        let root = File::open("/").unwrap();
        let mut handle = 9u32.to_ne_bytes().to_vec();
        handle.extend([0; 12]);
        let malformed = Some(NoDirectory::Unknown(WhyNot::Malformed));
        assert_eq!(directory(&root, &handle).err(), malformed);
        assert_eq!(directory(&root, &[]).err(), malformed);
    }

    fn record(kind: u8, name: &[u8]) -> Vec<u8> {
        let mut info = vec![kind, 0];
        info.extend(((24 + name.len()) as u16).to_ne_bytes());
        for number in [5, 6, 4, 1, 77] {
            info.extend(i32::to_ne_bytes(number));
        }
        info.extend(name);
        info
    }

    #[test]
    fn a_name_is_read_as_far_as_its_end() {
        let info = record(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"new\0\0\0\0\0");
        match place_by_handle(&info) {
            Place::Handle { fsid, handle, name, of } => {
                assert_eq!((fsid, handle.len(), name.to_str()), ((5, 6), 12, Some("new")));
                assert_eq!(of, None);
            }
            _ => panic!("no directory"),
        }
        assert!(matches!(place_by_handle(&info[..20]), Place::Path(None, None)));
    }

    #[test]
    fn the_directory_counts_before_the_file_whichever_comes_first() {
        let file = record(libc::FAN_EVENT_INFO_TYPE_FID, b"");
        let dir = record(libc::FAN_EVENT_INFO_TYPE_DFID, b"");
        let first = |parts: &[&[u8]]| place_by_handle(&parts.concat());
        assert!(matches!(first(&[&file, &dir]), Place::Handle { of: Some(_), .. }));
        assert!(matches!(first(&[&dir, &file]), Place::Handle { of: Some(_), .. }));
        assert!(matches!(first(&[&file]), Place::File { .. }));
        assert!(
            matches!(first(&[&[200, 0, 4, 0]]), Place::Path(None, None)),
            "a record of another kind"
        );
    }
}
