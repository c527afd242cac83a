//! The helper's owner: starts it, asks, waits no longer than it must, gives it up.
#![allow(unsafe_code)]

use super::child;
use super::patience::Patience;
use super::protocol::{Described, Looked, MESSAGE_MAX, PageId, Reply, Request};
use crate::linux::fork;
use crate::linux::poll::wait_readable;
use crate::linux::process::abandon_child;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, socketpair,
};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How long a look at one process may take.
const PATIENCE_MS: u64 = 500;
/// How often in a row a helper is started that does not take a question.
const STARTS_MAX: usize = 4;
/// How many processes are asked about in one message.
const BATCH: usize = 256;

/// The helper, as its owner sees it.
pub struct Helper {
    pages: Vec<PageId>,
    others: Vec<PageId>,
    patience: Patience,
    link: Option<(OwnedFd, i32)>,
    /// Processes on which a look has hung.
    pub hung: Vec<i32>,
    /// Processes that have more mappings than are looked at, or whose user's time was spent.
    pub unseen: BTreeSet<i32>,
}

impl Helper {
    /// A helper that knows these control pages, and those of the other gates.
    pub fn new(pages: Vec<PageId>, others: Vec<PageId>) -> io::Result<Helper> {
        let mut helper = Helper {
            pages,
            others,
            patience: Patience::default(),
            link: None,
            hung: Vec::new(),
            unseen: BTreeSet::new(),
        };
        helper.start()?;
        Ok(helper)
    }

    fn start(&mut self) -> io::Result<()> {
        let said = |what: &str, e: io::Error| io::Error::new(e.kind(), format!("{what}: {e}"));
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|e| said("no socket for the helper process", e.into()))?;
        let owner = std::process::id() as i32;
        let (pages, others) = (self.pages.clone(), self.others.clone());
        let pid = fork::child(move || child::run(theirs, owner, pages, others))
            .map_err(|e| said("cannot start a helper process", e))?;
        self.link = Some((ours, pid));
        Ok(())
    }

    /// Our helper's process id: it is none of the gate's.
    pub fn pid(&self) -> i32 {
        self.link.as_ref().map_or(0, |(_, pid)| *pid)
    }

    fn ask(&mut self, request: &Request) -> Option<()> {
        if self.link.is_none() {
            self.start().ok()?;
        }
        let (fd, _) = self.link.as_ref()?;
        let bytes = serde_json::to_vec(request).ok()?;
        send(fd.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).ok().map(|_| ())
    }

    /// One answer; None if it hangs or has died.
    fn answer(&mut self) -> Option<(Reply, Option<OwnedFd>)> {
        let (fd, _) = self.link.as_ref()?;
        if !wait_readable(&[fd.as_fd()], PATIENCE_MS) {
            return None;
        }
        let mut bytes = vec![0u8; MESSAGE_MAX];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let len = message.bytes;
        let passed = message.cmsgs().ok()?.find_map(|m| match m {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        // SAFETY: the message has just brought this descriptor, and nothing else knows it.
        let passed = passed.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Some((serde_json::from_slice(&bytes[..len]).ok()?, passed))
    }

    /// Gives this helper up; the next question starts another.
    fn abandon(&mut self) {
        if let Some((_, pid)) = self.link.take() {
            abandon_child(pid);
        }
    }

    /// Looks at these processes. One that hangs the helper goes to [`Helper::hung`], and costs its
    /// user's other processes some of their time.
    pub fn look(&mut self, pids: &[i32]) -> Vec<(Looked, Option<OwnedFd>)> {
        let mut todo: VecDeque<i32> =
            pids.iter().copied().filter(|pid| !self.hung.contains(pid)).collect();
        let mut found = Vec::with_capacity(todo.len());
        let mut failures = 0;
        while !todo.is_empty() {
            todo.retain(|pid| {
                let spent = self.patience.is_spent(*pid);
                if spent {
                    self.unseen.insert(*pid);
                }
                !spent
            });
            let batch: Vec<i32> = todo.iter().copied().take(BATCH).collect();
            let mut asked = batch.len();
            if self.ask(&Request::Look(batch)).is_none() {
                self.abandon();
                failures += 1;
                if failures == STARTS_MAX {
                    // Not these processes' fault: no helper can be had.
                    self.hung.extend(todo.drain(..));
                }
                continue;
            }
            while asked > 0 {
                match self.answer() {
                    Some((Reply::Looked(looked), fd)) => {
                        todo.pop_front();
                        asked -= 1;
                        self.note(&looked);
                        found.push((looked, fd));
                    }
                    Some(_) => {}
                    None => {
                        self.abandon();
                        // What the head of the queue is cannot be told.
                        if let Some(pid) = todo.pop_front() {
                            self.hung.push(pid);
                            self.patience.spend(pid, PATIENCE_MS * 1_000_000);
                        }
                        break;
                    }
                }
            }
        }
        found
    }

    fn note(&mut self, looked: &Looked) {
        if looked.unseen {
            self.unseen.insert(looked.pid);
        } else {
            self.unseen.remove(&looked.pid);
        }
    }

    /// Copies all copied regions afresh; the processes that could not be read.
    /// None: the helper hung, and nothing that was copied is to be believed.
    pub fn refresh(&mut self) -> Option<Vec<i32>> {
        let answer = self.ask(&Request::Refresh).and_then(|()| self.answer());
        match answer {
            Some((Reply::Refreshed(failed), _)) => Some(failed),
            _ => {
                self.abandon();
                None
            }
        }
    }

    /// Opens a directory, and says where it lies; or why not, in words.
    pub fn open(&mut self, path: &Path) -> Result<(PathBuf, OwnedFd), String> {
        let path = path.as_os_str().as_bytes().to_vec();
        match self.ask(&Request::Open(path)).and_then(|()| self.answer()) {
            Some((Reply::Opened(Ok(place)), Some(fd))) => {
                Ok((OsString::from_vec(place).into(), fd))
            }
            Some((Reply::Opened(Err(why)), _)) => Err(why),
            _ => {
                self.abandon();
                Err("its file system does not answer".into())
            }
        }
    }

    /// The path under which a process maps the file `MAJOR:MINOR:INODE`. None: under none, or
    /// that cannot be told.
    pub fn mapped_as(&mut self, pid: i32, file: &str) -> Option<String> {
        if self.hung.contains(&pid) {
            return None;
        }
        let asked = self.ask(&Request::MappedFile(pid, file.to_owned()));
        match asked.and_then(|()| self.answer()) {
            Some((Reply::MappedAs(path), _)) => path,
            _ => {
                self.abandon();
                self.hung.push(pid);
                None
            }
        }
    }

    /// Is this file (device, inode) there, under this path of the process's? None: that cannot be
    /// told.
    pub fn is_at(&mut self, pid: i32, path: &[u8], file: (u64, u64)) -> Option<bool> {
        if self.hung.contains(&pid) {
            return None;
        }
        match self.ask(&Request::IsAt(pid, path.to_vec(), file)).and_then(|()| self.answer()) {
            Some((Reply::Is(is), _)) => is,
            _ => {
                self.abandon();
                self.hung.push(pid);
                None
            }
        }
    }

    /// Command line and environment of a process.
    pub fn describe(&mut self, pid: i32) -> Option<Described> {
        if self.hung.contains(&pid) {
            return None;
        }
        match self.ask(&Request::Describe(pid)).and_then(|()| self.answer()) {
            Some((Reply::Described(described), _)) => Some(described),
            _ => {
                self.abandon();
                self.hung.push(pid);
                None
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.abandon();
    }
}
