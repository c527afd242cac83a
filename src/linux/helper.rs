//! The process that may hang in our stead: the owner's side.
//!
//! Whatever takes another process's `mmap_lock` (`maps`, `map_files`,
//! `process_vm_readv`, `cmdline`, `environ`) blocks, sometimes unkillably, while that
//! process is stuck in a fault or an mmap on a hung disk. So a child of ours does
//! it. If it does not answer in time it is killed (or left to its fate) and the
//! process at fault is never asked about again.

use crate::linux::helper_child;
use crate::linux::library::LibraryLayout;
use crate::linux::sys;
use crate::outcome::fault::{CONFIG, Fault, Result};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, socketpair,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How long a look at one process may take.
const PATIENCE_MS: i32 = 500;
/// How many processes are asked about in one message.
const BATCH: usize = 256;

/// A control page as `/proc/PID/maps` names it: on btrfs, stat shows another device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PageId {
    /// `MAJOR:MINOR`, as in maps.
    pub dev: String,
    /// Inode.
    pub ino: u64,
    /// Its path, as maps names it for us. In the mount namespace of a hardened unit
    /// it is the same; another page under it is one that was replaced.
    pub path: String,
}

/// What the owner asks.
#[derive(Serialize, Deserialize)]
pub enum Request {
    /// Look at these processes, one answer each, in this order.
    Look(Vec<i32>),
    /// Copy all regions afresh that are copied and not mapped.
    Refresh,
    /// Command line and environment of a process.
    Describe(i32),
}

/// What the helper answers.
#[derive(Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Look`].
    Looked(Looked),
    /// To [`Request::Refresh`]: the processes whose memory could not be read.
    Refreshed(Vec<i32>),
    /// To [`Request::Describe`].
    Described(Described),
}

/// What a process turned out to be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Looked {
    /// Process.
    pub pid: i32,
    /// Which of our control pages it maps.
    pub page: Option<usize>,
    /// It maps one of our control pages for certain: `page` may also be the one that it is on
    /// its way to.
    pub maps_page: bool,
    /// Its region, if it maps one of our pages.
    pub region: RegionFound,
    /// It has the library loaded.
    pub library: bool,
    /// The layout of that library; asked only of a process that maps no control page.
    pub layout: Option<LibraryLayout>,
    /// The gate that its environment names; told only with a library of another layout.
    pub asks_for: Option<usize>,
    /// It maps a control page of this gate (by its path) that is not the present one.
    pub other_page: Option<usize>,
    /// It maps something that looks like a control page, of whatever gate.
    pub any_page: bool,
    /// Its C library is loaded and ours is not, or it has a control page already:
    /// the loader will not bring it to us any more, in this image.
    pub decided: bool,
    /// Its maps could not be read: the error.
    pub error: Option<i32>,
}

/// The region of a process that maps a control page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum RegionFound {
    /// None of its own (yet).
    #[default]
    None,
    /// Found, and mapped through the descriptor that comes with the answer.
    Mapped,
    /// Found, and copied to the descriptor that comes with the answer.
    Copied,
    /// It shares its parent's memory, and so its words (vfork).
    Shared,
    /// Only the one it was forked with: it has made no entry so far.
    Unborn,
    /// Found, but we may neither map nor read it: the error.
    Denied(i32),
}

/// Command line and what matters of the environment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Described {
    /// Process.
    pub pid: i32,
    /// Its arguments.
    pub cmdline: Vec<String>,
    /// Variables that begin with `WRITEGATE_` or `LD_PRELOAD`.
    pub environ: BTreeMap<String, String>,
}

/// The helper, as its owner sees it.
pub struct Helper {
    pages: Vec<PageId>,
    link: Option<(OwnedFd, i32)>,
    /// Processes on which a look has hung.
    pub dark: Vec<i32>,
}

impl Helper {
    /// A helper that knows these control pages.
    pub fn new(pages: Vec<PageId>) -> Result<Helper> {
        let mut helper = Helper { pages, link: None, dark: Vec::new() };
        helper.start()?;
        Ok(helper)
    }

    fn start(&mut self) -> Result<()> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|e| {
                    Fault::new(CONFIG, format!("no socket for the helper process: {e}"))
                })?;
        let owner = std::process::id() as i32;
        // SAFETY: the child uses its own copy of everything and never returns;
        // glibc keeps its allocator usable in the child of a threaded process.
        match unsafe { libc::fork() } {
            0 => helper_child::run(theirs, owner, &self.pages),
            pid if pid > 0 => {
                self.link = Some((ours, pid));
                Ok(())
            }
            _ => Err(Fault::new(
                CONFIG,
                format!("cannot start a helper process: {}", std::io::Error::last_os_error()),
            )),
        }
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
        if !sys::wait_readable(&[fd.as_raw_fd()], PATIENCE_MS) {
            return None;
        }
        let mut bytes = vec![0u8; 64 * 1024];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(fd.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let len = message.bytes;
        let passed = message.cmsgs().ok()?.find_map(|m| match m {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        // SAFETY: the kernel has just given it to us, and to nobody else here.
        let passed = passed.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Some((serde_json::from_slice(&bytes[..len]).ok()?, passed))
    }

    /// Gives this helper up; the next question starts another.
    fn abandon(&mut self) {
        if let Some((_, pid)) = self.link.take() {
            sys::kill(pid, libc::SIGKILL);
            // It may be stuck in the kernel: never wait for it. A zombie ends with us.
            // SAFETY: the status is not asked for.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }

    /// Looks at these processes. One that hangs the helper goes to [`Helper::dark`].
    pub fn look(&mut self, pids: &[i32]) -> Vec<(Looked, Option<OwnedFd>)> {
        let mut todo: VecDeque<i32> =
            pids.iter().copied().filter(|pid| !self.dark.contains(pid)).collect();
        let mut found = Vec::with_capacity(todo.len());
        let mut failures = 0;
        while !todo.is_empty() && failures < 16 {
            let batch: Vec<i32> = todo.iter().copied().take(BATCH).collect();
            let mut asked = batch.len();
            if self.ask(&Request::Look(batch)).is_none() {
                self.abandon();
                failures += 1;
                continue;
            }
            while asked > 0 {
                match self.answer() {
                    Some((Reply::Looked(looked), fd)) => {
                        todo.pop_front();
                        asked -= 1;
                        found.push((looked, fd));
                    }
                    Some(_) => {}
                    None => {
                        self.abandon();
                        failures += 1;
                        // What the head of the queue is, nobody can say.
                        self.dark.extend(todo.pop_front());
                        break;
                    }
                }
            }
        }
        self.dark.extend(todo);
        found
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

    /// Command line and environment of a process.
    pub fn describe(&mut self, pid: i32) -> Option<Described> {
        if self.dark.contains(&pid) {
            return None;
        }
        match self.ask(&Request::Describe(pid)).and_then(|()| self.answer()) {
            Some((Reply::Described(described), _)) => Some(described),
            _ => {
                self.abandon();
                self.dark.push(pid);
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
