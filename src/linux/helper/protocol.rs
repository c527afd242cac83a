//! What the helper is asked, and what it answers.

use crate::linux::directory::NotOpened;
use crate::linux::library::LibraryLayout;
use crate::linux::look::WhyNot;
use serde::{Deserialize, Serialize};

/// Longest message, in bytes.
pub const MESSAGE_MAX: usize = 64 * 1024;

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
    Look(Vec<Asked>),
    /// Copy all regions afresh that are copied and not mapped.
    Refresh,
    /// The path under which a process maps the file `MAJOR:MINOR:INODE`.
    MappedFile(i32, String),
    /// Is this file (device, inode) there, under this path of a process's?
    IsAt(i32, Vec<u8>, (u64, u64)),
    /// Do both addresses lie in one mapping of this process?
    OneMapping(i32, u64, u64),
    /// Open this directory below the root of a process, or below our own (0): the file system may
    /// answer no more.
    Open(i32, Vec<u8>),
    /// Which files a process has mapped so that its stores reach them.
    Mappings(i32),
    /// Which files that these patterns name are there, below the root of a process, or below our own (0)?
    LockFiles(i32, Vec<String>),
    /// Copy so much of a process's memory, from this address on, to a file of ours.
    Memory(i32, u64, u64),
}

/// A process that is to be looked at.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Asked {
    /// Process.
    pub pid: i32,
    /// What it was a moment ago; none: that is to be asked first.
    pub before: Option<Before>,
}

/// What `/proc/PID/stat` has shown of a process that lives, by its first thread: `Stat::image` and
/// `Stat::in_place`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Before {
    /// Which image it was.
    pub image: u64,
    /// No exec was under way.
    pub in_place: bool,
}

/// What the helper answers.
#[derive(Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Look`].
    Looked(Looked),
    /// To [`Request::Refresh`]: the processes whose memory could not be read.
    Refreshed(Vec<i32>),
    /// To [`Request::MappedFile`]; none: it maps no such file.
    MappedAs(Option<String>),
    /// To [`Request::IsAt`]; none: that cannot be told.
    Is(Option<bool>),
    /// To [`Request::OneMapping`].
    OneMapping(bool),
    /// To [`Request::Open`]: where it lies below that root, with its descriptor; or why not.
    Opened(Result<Vec<u8>, NotOpened>),
    /// To [`Request::Mappings`].
    Mappings(Result<Mappings, WhyNot>),
    /// To [`Request::LockFiles`], with a file of so many bytes that holds them.
    LockFiles(Result<u64, WhyNot>),
    /// To [`Request::Memory`], with the file's descriptor.
    Memory(Result<(), WhyNot>),
    /// The answer is longer than a message may be.
    TooLong,
}

/// What a process can change by a store alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Mappings {
    /// Files that it has mapped shared and writable.
    pub files: Vec<MappedFile>,
    /// The rings of an io_uring.
    pub io_uring: bool,
    /// More than one C library.
    pub second_libc: bool,
}

/// One such file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct MappedFile {
    /// Device, as stat shows it (where the file may not be asked: as maps does).
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// How many names it has, a mount of it alone counted as one; none: it may not be asked.
    pub names: Option<u32>,
    /// Its path, as we or the process see it.
    pub path: Vec<u8>,
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
    /// Lock files of the process that forked it, which is gone.
    pub left: Vec<LeftFile>,
    /// Without a region of its own: where the list of the directories that it was told lies in its
    /// memory, and how long it is, by the region that it was forked with.
    pub named: Option<(u64, u64)>,
    /// It has the library loaded.
    pub library: bool,
    /// The layout of that library; asked only of a process that maps no control page.
    pub layout: Option<LibraryLayout>,
    /// The gate that its environment names; told only of a process that maps no control page of ours.
    pub asks_for: Option<usize>,
    /// It maps a control page of this gate (by its path) that is not the present one.
    pub other_page: Option<usize>,
    /// It maps the present control page of another gate.
    pub elsewhere: bool,
    /// Its C library is loaded and ours is not, or it has a control page already:
    /// the loader will not bring it to us any more, in this image.
    pub decided: bool,
    /// No loader has begun it, and it has loaded none itself: a static program. Asked only of one that
    /// is not decided.
    pub is_static: bool,
    /// It maps what is left of its parent's region: it was forked, and found no memory for its own.
    pub found_no_memory: bool,
    /// What it can change by a store alone; none: that is to be asked.
    pub mappings: Option<Mappings>,
    /// It could not be looked at, or not all of it: why.
    pub unseen: Option<WhyNot>,
}

impl Looked {
    /// Nothing was seen of it.
    pub fn not_seen(pid: i32, why: WhyNot) -> Looked {
        Looked { pid, unseen: Some(why), ..Looked::default() }
    }
}

/// A lock file that came to a process with its fork.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftFile {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Its path; empty: not known.
    pub path: Vec<u8>,
}

/// A lock file that is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LockFile {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Its path, as the process sees it.
    pub path: Vec<u8>,
    /// The process that stands in it, if one does.
    pub owner: Option<i32>,
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
    Inherited,
    /// Found, but we may neither map nor read it: the error.
    Denied(i32),
}
