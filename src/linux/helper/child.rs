//! The helper's own side: reads questions and answers. It holds neither the gate's lock nor
//! anything else that would be missed if it is never seen again.

use super::lock_files;
use super::look::look;
use super::mappings;
use super::pages::Pages;
use super::patience::Patience;
use super::protocol::{LockFile, Looked, MESSAGE_MAX, PageId, Reply, Request};
use super::region::Copied;
use crate::linux::clock;
use crate::linux::directory;
use crate::linux::foreign::{anonymous_file, read_memory};
use crate::linux::fork;
use crate::linux::look::WhyNot;
use crate::linux::procfs::{maps, seen_by};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use nix::sys::stat::{Mode, fstat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// So much of a process's memory is copied at once: more than two environment variables can hold
/// (the kernel's MAX_ARG_STRLEN, 128 KiB each).
const COPIED_MAX: u64 = 1 << 20;
/// [`Reply::TooLong`], as it is sent.
const TOO_LONG: &str = "\"TooLong\"";

/// Serves until the owner is gone.
pub fn run(link: OwnedFd, owner: i32, own: Vec<PageId>, others: Vec<PageId>) {
    fork::serve_owner(owner, link.as_fd());
    let pages = Pages::new(own, others);
    let mut patience = Patience::default();
    let mut copied: Vec<Copied> = Vec::new();
    let mut bytes = vec![0u8; MESSAGE_MAX];
    loop {
        let len = match recv(link.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
            Ok(len) if len > 0 => len,
            Err(Errno::EINTR) => continue,
            _ => return,
        };
        let Ok(request) = serde_json::from_slice::<Request>(&bytes[..len]) else { return };
        match request {
            Request::Look(asked) => {
                for asked in asked {
                    let (pid, begun) = (asked.pid, clock::now_ns());
                    let (looked, fd) = match patience.is_spent(pid) {
                        true => (Looked::not_seen(pid, WhyNot::TooMuch), None),
                        false => look(asked, &pages, &mut copied),
                    };
                    patience.spend(pid, clock::now_ns() - begun);
                    reply(&link, &Reply::Looked(looked), fd.as_ref());
                }
            }
            Request::Refresh => {
                let mut failed = Vec::new();
                for copy in &mut copied {
                    if copy.refresh().is_err() {
                        failed.push(copy.pid);
                    }
                }
                reply(&link, &Reply::Refreshed(failed), None);
            }
            Request::MappedFile(pid, file) => {
                reply(&link, &Reply::MappedAs(mapped_as(pid, &file)), None);
            }
            Request::IsAt(pid, path, file) => {
                reply(&link, &Reply::Is(is_at(pid, &path, file)), None);
            }
            Request::OneMapping(pid, low, high) => {
                reply(&link, &Reply::OneMapping(maps::one_mapping(pid, low, high)), None);
            }
            Request::Mappings(pid) => {
                let found = mappings::of(pid);
                reply(&link, &Reply::Mappings(found), None);
            }
            Request::Memory(pid, at, len) => {
                let (read, fd) = match memory(seen_by(pid), at, len) {
                    Ok(fd) => (Ok(()), Some(fd)),
                    Err(e) => (Err(WhyNot::of(&e)), None),
                };
                reply(&link, &Reply::Memory(read), fd.as_ref());
            }
            Request::LockFiles(root, patterns) => {
                let (found, fd) = match lock_files::all(root, &patterns).and_then(in_a_file) {
                    Ok((len, fd)) => (Ok(len), Some(fd)),
                    Err(why) => (Err(why), None),
                };
                reply(&link, &Reply::LockFiles(found), fd.as_ref());
            }
            Request::Open(root, path) => {
                let root = match root {
                    0 => "/".into(),
                    pid => format!("/proc/{pid}/root"),
                };
                let path = OsString::from_vec(path);
                let (opened, fd) = match directory::open(Path::new(&root), Path::new(&path)) {
                    Ok((place, fd)) => (Ok(place.into_os_string().into_vec()), Some(fd)),
                    Err(why) => (Err(why), None),
                };
                reply(&link, &Reply::Opened(opened), fd.as_ref());
            }
        }
    }
}

fn reply(link: &OwnedFd, reply: &Reply, fd: Option<&OwnedFd>) {
    // An environment may be longer than a message.
    let whole = serde_json::to_vec(reply).ok().filter(|bytes| bytes.len() <= MESSAGE_MAX);
    let bytes = whole.unwrap_or_else(|| TOO_LONG.as_bytes().to_vec());
    let fds: Vec<_> = fd.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let parts = [IoSlice::new(&bytes)];
    let _ = sendmsg::<()>(link.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None);
}

/// The path of a mapped file, by what `/proc/locks` calls it.
fn mapped_as(pid: i32, file: &str) -> Option<String> {
    let (dev, ino) = file.rsplit_once(':')?;
    let ino: u64 = ino.parse().ok()?;
    let mut found = None;
    maps::each(seen_by(pid), |line| {
        if found.is_none() && line.ino == ino && line.dev == dev {
            found = Some(line.path_once().to_owned());
        }
    })
    .ok()?;
    found
}

/// Is this file there, under this path as the process sees it? None: that cannot be told.
fn is_at(pid: i32, path: &[u8], file: (u64, u64)) -> Option<bool> {
    let look = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(format!("/proc/{pid}/root").as_str(), look, Mode::empty()).ok()?;
    let path = Path::new(OsStr::from_bytes(path));
    let how = OpenHow::new().flags(look | OFlag::O_NOFOLLOW).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let found = match openat2(root.as_fd(), path, how) {
        Ok(found) => found,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Some(false),
        // Before Linux 5.6, or not to be seen.
        Err(_) => return None,
    };
    let stat = fstat(&found).ok()?;
    Some((stat.st_dev, stat.st_ino) == file)
}

/// Writes them to a file of its own: they may be more than fit into a message.
fn in_a_file(found: Vec<LockFile>) -> Result<(u64, OwnedFd), WhyNot> {
    let bytes = serde_json::to_vec(&found).map_err(|_| WhyNot::Malformed)?;
    let write = || -> io::Result<OwnedFd> {
        let file = File::from(anonymous_file(bytes.len())?);
        file.write_all_at(&bytes, 0)?;
        Ok(file.into())
    };
    Ok((bytes.len() as u64, write().map_err(|e| WhyNot::of(&e))?))
}

/// Copies a part of a process's memory, as long as it says that the part is.
fn memory(pid: i32, at: u64, len: u64) -> io::Result<OwnedFd> {
    if len > COPIED_MAX {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let file = anonymous_file(len as usize)?;
    let mut bytes = vec![0; len as usize];
    read_memory(pid, at, &mut bytes)?;
    let file = File::from(file);
    file.write_all_at(&bytes, 0)?;
    Ok(file.into())
}
