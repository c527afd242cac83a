//! The helper's owner: starts it, asks, waits no longer than it must, gives it up.
#![allow(unsafe_code)]

use super::child;
use super::patience::Patience;
use super::protocol::{Asked, LockFile, Looked, MESSAGE_MAX, Mappings, PageId, Reply, Request};
use crate::linux::clock;
use crate::linux::directory::NotOpened;
use crate::linux::fork;
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::poll::wait_readable;
use crate::linux::process::{abandon_child, is_there};
use crate::linux::procfs;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, socketpair,
};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How long a look at one process may take.
const PATIENCE_MS: u64 = 500;
/// The same where many have hung, and the helper is seen to hang.
const SHORT_MS: u64 = 40;
/// How often in a row a helper is started that takes no question, or dies before it answers any:
/// not the fault of those that it is asked about.
const STARTS_MAX: usize = 4;
/// How many processes are asked about in one message.
const BATCH: usize = 256;

/// The helper, as its owner sees it.
pub struct Helper {
    pages: Vec<PageId>,
    others: Vec<PageId>,
    patience: Patience,
    link: Option<(OwnedFd, i32)>,
    /// A helper was lost, and what it had copied with it: until those are looked at anew, nothing
    /// that was copied is to be believed.
    copies_lost: bool,
    /// Processes on which a look has hung: they are not asked about again.
    hung: Vec<i32>,
}

/// What became of a helper that does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// It hangs.
    Hangs,
    /// It has died, or what it says cannot be read.
    Died,
    /// None can be had, and why.
    NotHad(WhyNot),
}

impl Lost {
    /// What is known of a process that could not be asked about.
    fn nothing_of(self, pid: i32) -> Looked {
        match self {
            Lost::NotHad(why) => Looked::not_seen(pid, why),
            Lost::Hangs | Lost::Died => Looked::not_seen(pid, WhyNot::Hangs),
        }
    }
}

impl Helper {
    /// A helper that knows these control pages, and those of the other gates.
    pub fn new(pages: Vec<PageId>, others: Vec<PageId>) -> io::Result<Helper> {
        let mut helper = Helper {
            pages,
            others,
            patience: Patience::default(),
            link: None,
            copies_lost: false,
            hung: Vec::new(),
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

    fn ask(&mut self, request: &Request) -> Result<(), Lost> {
        if self.link.is_none() {
            self.start().map_err(|e| Lost::NotHad(WhyNot::of(&e)))?;
        }
        let (fd, _) = self.link.as_ref().ok_or(Lost::Died)?;
        let bytes = serde_json::to_vec(request).map_err(|_| Lost::Died)?;
        let sent = send(fd.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
        sent.map(drop).map_err(|e| Lost::NotHad(WhyNot::of(&e.into())))
    }

    /// One answer.
    fn answer(&mut self) -> Result<(Reply, Option<OwnedFd>), Lost> {
        let (fd, helper) = self.link.as_ref().ok_or(Lost::Died)?;
        let wait = |ms| wait_readable(&[fd.as_fd()], ms);
        // One that only waits for a processor sleeps at no disk.
        let comes = match self.patience.is_short() {
            false => wait(PATIENCE_MS),
            true => wait(SHORT_MS) || !procfs::hangs(*helper) && wait(PATIENCE_MS - SHORT_MS),
        };
        if !comes {
            return Err(Lost::Hangs);
        }
        let mut bytes = vec![0u8; MESSAGE_MAX];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut space), flags)
            .map_err(|_| Lost::Died)?;
        let len = message.bytes;
        // A descriptor for which we had no place is left out.
        let passed = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|m| match m {
                ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                _ => None,
            })
        });
        // SAFETY: the message has just brought this descriptor, and nothing else knows it.
        let passed = passed.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let reply = serde_json::from_slice(&bytes[..len]).map_err(|_| Lost::Died)?;
        Ok((reply, passed))
    }

    /// Gives this helper up; the next question starts another.
    fn abandon(&mut self) {
        if let Some((_, pid)) = self.link.take() {
            abandon_child(pid);
            self.copies_lost = true;
        }
    }

    /// Looks at these processes; an answer for each. One that hangs the helper is not asked about
    /// again, and costs its user's other processes some of their time.
    pub fn look(&mut self, pids: &[i32]) -> Vec<(Looked, Option<OwnedFd>)> {
        self.look_at(pids.iter().map(|pid| Asked { pid: *pid, before: None }).collect())
    }

    /// The same of processes of which something is known already.
    pub fn look_at(&mut self, asked: Vec<Asked>) -> Vec<(Looked, Option<OwnedFd>)> {
        let mut found = Vec::with_capacity(asked.len());
        let (hung, todo): (Vec<Asked>, Vec<Asked>) =
            asked.into_iter().partition(|one| self.hung.contains(&one.pid));
        let mut todo = VecDeque::from(todo);
        found.extend(hung.iter().map(|one| (Looked::not_seen(one.pid, WhyNot::Hangs), None)));
        let (mut failures, mut suspect) = (0, None);
        while !todo.is_empty() {
            todo.retain(|one| {
                let spent = self.patience.is_spent(one.pid);
                if spent {
                    found.push((Looked::not_seen(one.pid, WhyNot::TooMuch), None));
                }
                !spent
            });
            let batch: Vec<Asked> = todo.iter().copied().take(BATCH).collect();
            let mut asked = batch.len();
            if let Err(lost) = self.ask(&Request::Look(batch)) {
                self.abandon();
                failures += 1;
                if failures >= STARTS_MAX {
                    found.extend(todo.drain(..).map(|one| (lost.nothing_of(one.pid), None)));
                }
                continue;
            }
            while asked > 0 {
                match self.answer() {
                    Ok((Reply::Looked(looked), fd)) => {
                        todo.pop_front();
                        asked -= 1;
                        failures = 0;
                        found.push((looked, fd));
                    }
                    Ok(_) => {}
                    Err(lost) => {
                        self.abandon();
                        // What the head of the queue is cannot be told.
                        let head = todo.front().map(|one| one.pid);
                        failures += usize::from(lost == Lost::Died);
                        if failures >= STARTS_MAX {
                            found
                                .extend(todo.drain(..).map(|one| (lost.nothing_of(one.pid), None)));
                        } else if head != suspect && !head.is_some_and(procfs::hangs) {
                            // Its fault, or the helper's own? Asked once more.
                            suspect = head;
                        } else if let Some(Asked { pid, .. }) = todo.pop_front() {
                            found.push((Looked::not_seen(pid, WhyNot::Hangs), None));
                            self.hung.push(pid);
                            self.patience.hung(pid, PATIENCE_MS * 1_000_000);
                        }
                        break;
                    }
                }
            }
        }
        found
    }

    /// Copies all copied regions afresh; the processes that could not be read.
    /// None: the helper hung, and nothing that was copied is to be believed.
    pub fn refresh(&mut self) -> Option<Vec<i32>> {
        let answer = self.ask(&Request::Refresh).and_then(|()| self.answer());
        if std::mem::take(&mut self.copies_lost) {
            return None;
        }
        match answer {
            Ok((Reply::Refreshed(failed), _)) => Some(failed),
            _ => {
                self.abandon();
                None
            }
        }
    }

    /// What a process can change by a store alone.
    pub fn mappings(&mut self, pid: i32) -> Look<Mappings> {
        self.ask_about(pid, &Request::Mappings(pid), |reply, _| match reply {
            Reply::Mappings(found) => Some(found),
            _ => None,
        })
    }

    /// Copies a part of a process's memory.
    pub fn memory(&mut self, pid: i32, at: u64, len: u64) -> Look<Vec<u8>> {
        self.ask_about(pid, &Request::Memory(pid, at, len), |reply, fd| match (reply, fd) {
            (Reply::Memory(Ok(())), Some(fd)) => {
                let mut bytes = Vec::new();
                let read = File::from(fd).take(len).read_to_end(&mut bytes);
                Some(read.map(|_| bytes).map_err(|e| WhyNot::of(&e)))
            }
            // No descriptor was left for it.
            (Reply::Memory(Ok(())), None) => Some(Err(WhyNot::Errno(libc::EMFILE))),
            (Reply::Memory(Err(why)), _) => Some(Err(why)),
            _ => None,
        })
    }

    /// The files that these patterns name and that are there, below the root of a process, or below our
    /// own (0).
    pub fn lock_files(&mut self, root: i32, patterns: &[String]) -> Look<Vec<LockFile>> {
        let request = Request::LockFiles(root, patterns.to_vec());
        let of = if root == 0 { std::process::id() as i32 } else { root };
        self.ask_about(of, &request, |reply, fd| match (reply, fd) {
            (Reply::LockFiles(Ok(len)), Some(fd)) => {
                let mut bytes = Vec::new();
                let read = File::from(fd).take(len).read_to_end(&mut bytes);
                let parsed = || serde_json::from_slice(&bytes).map_err(|_| WhyNot::Malformed);
                Some(read.map_err(|e| WhyNot::of(&e)).and_then(|_| parsed()))
            }
            // No descriptor was left for it.
            (Reply::LockFiles(Ok(_)), None) => Some(Err(WhyNot::Errno(libc::EMFILE))),
            (Reply::LockFiles(Err(why)), _) => Some(Err(why)),
            _ => None,
        })
    }

    /// Asks something about a process. If no answer comes, another helper is asked once more: that the
    /// first one was stuck need not be this process's doing.
    fn ask_about<T>(
        &mut self,
        pid: i32,
        request: &Request,
        take: impl Fn(Reply, Option<OwnedFd>) -> Option<Result<T, WhyNot>>,
    ) -> Look<T> {
        for _ in 0..2 {
            if self.hung.contains(&pid) {
                return Look::NotSeen(WhyNot::Hangs);
            }
            if self.patience.is_spent(pid) {
                return Look::NotSeen(WhyNot::TooMuch);
            }
            let begun = clock::now_ns();
            let answer = self.ask(request).and_then(|()| self.answer());
            let found = match answer {
                Ok((Reply::TooLong, _)) => Some(Err(WhyNot::TooMuch)),
                Ok((reply, fd)) => take(reply, fd),
                Err(_) => None,
            };
            let took = clock::now_ns() - begun;
            match found {
                None => self.patience.hung(pid, took),
                Some(_) => self.patience.spend(pid, took),
            }
            match found {
                Some(Ok(found)) => return Look::Seen(found),
                _ if !is_there(pid) => return Look::Gone(Proof::NoProcess),
                // It has lost its memory already.
                _ if procfs::is_exiting(pid) => return Look::Gone(Proof::Exiting),
                Some(Err(why)) => return Look::NotSeen(why),
                None => self.abandon(),
            }
        }
        self.hung.push(pid);
        Look::NotSeen(WhyNot::Hangs)
    }

    /// Opens a directory below the root of a process, or below our own (0), and says where it
    /// lies there.
    pub fn open(&mut self, root: i32, path: &Path) -> Result<(PathBuf, OwnedFd), NotOpened> {
        let path = path.as_os_str().as_bytes().to_vec();
        match self.ask(&Request::Open(root, path)).and_then(|()| self.answer()) {
            Ok((Reply::Opened(Ok(place)), Some(fd))) => Ok((OsString::from_vec(place).into(), fd)),
            Ok((Reply::Opened(Err(why)), _)) => Err(why),
            // No descriptor was left for it.
            Ok((Reply::Opened(Ok(_)), None)) => Err(NotOpened::Why(WhyNot::Errno(libc::EMFILE))),
            _ => {
                self.abandon();
                Err(NotOpened::Why(WhyNot::Hangs))
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
            Ok((Reply::MappedAs(path), _)) => path,
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
        if self.hung.contains(&pid) || self.patience.is_spent(pid) {
            return None;
        }
        let asked = self.ask(&Request::IsAt(pid, path.to_vec(), file));
        match asked.and_then(|()| self.answer()) {
            Ok((Reply::Is(is), _)) => is,
            _ => {
                self.abandon();
                self.hung.push(pid);
                None
            }
        }
    }

    /// Do both addresses lie in one mapping of this process? None: that cannot be told.
    pub fn one_mapping(&mut self, pid: i32, low: u64, high: u64) -> Option<bool> {
        if self.hung.contains(&pid) || self.patience.is_spent(pid) {
            return None;
        }
        let asked = self.ask(&Request::OneMapping(pid, low, high));
        match asked.and_then(|()| self.answer()) {
            Ok((Reply::OneMapping(one), _)) => Some(one),
            _ => {
                self.abandon();
                self.hung.push(pid);
                self.patience.hung(pid, PATIENCE_MS * 1_000_000);
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
