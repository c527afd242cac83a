//! The helper's own side: reads questions and answers. It holds neither the gate's lock nor
//! anything else that would be missed if it is never seen again.

use super::look::look;
use super::pages::Pages;
use super::patience::Patience;
use super::protocol::{Described, Looked, MESSAGE_MAX, PageId, Reply, Request};
use super::region::Copied;
use crate::linux::clock;
use crate::linux::directory;
use crate::linux::fork;
use crate::linux::look::WhyNot;
use crate::linux::procfs::{environ, maps, seen_by};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use std::ffi::OsString;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

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
            Request::Look(pids) => {
                for pid in pids {
                    let begun = clock::now_ns();
                    let (looked, fd) = match patience.is_spent(pid) {
                        true => (Looked::not_seen(pid, WhyNot::TooMuch), None),
                        false => look(pid, &pages, &mut copied),
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
            Request::Describe(pid) => reply(&link, &Reply::Described(describe(pid)), None),
            Request::MappedFile(pid, file) => {
                reply(&link, &Reply::MappedAs(mapped_as(pid, &file)), None);
            }
            Request::OneMapping(pid, low, high) => {
                reply(&link, &Reply::OneMapping(maps::one_mapping(pid, low, high)), None);
            }
            Request::Open(path) => {
                let (opened, fd) = match directory::open(Path::new(&OsString::from_vec(path))) {
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

fn describe(pid: i32) -> Described {
    environ::read(seen_by(pid)).map_err(|e| WhyNot::of(&e))
}
