//! The process that may hang in our stead: its own side.
//!
//! It reads questions, reads other processes' `maps` and memory, and answers. It
//! holds neither the gate's lock nor anything else that would be missed if it is
//! never seen again.

use crate::linux::helper::{Described, Looked, PageId, RegionFound, Reply, Request};
use crate::linux::library::{self, LibraryLayout};
use crate::linux::procfs;
use crate::linux::sys::{self, Mapping};
use gate::check::BadRegion;
use gate::claimed::ClaimedRegion;
use gate::region::{self, SIZE};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

/// One region that is copied, because we may not map it.
struct Copied {
    pid: i32,
    start: u64,
    to: Mapping,
}

/// Serves until the owner is gone.
pub fn run(link: OwnedFd, owner: i32, pages: &[PageId]) -> ! {
    stand_apart(&link, owner);
    let mut copied: Vec<Copied> = Vec::new();
    let mut bytes = vec![0u8; 64 * 1024];
    loop {
        let len = match recv(link.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
            Ok(len) if len > 0 => len,
            Err(nix::errno::Errno::EINTR) => continue,
            _ => break,
        };
        let Ok(request) = serde_json::from_slice::<Request>(&bytes[..len]) else { break };
        match request {
            Request::Look(pids) => {
                for pid in pids {
                    let (looked, fd) = look(pid, pages, &mut copied);
                    reply(&link, &Reply::Looked(looked), fd.as_ref());
                }
            }
            Request::Refresh => {
                let failed = copied.iter().filter(|c| !refresh(c)).map(|c| c.pid).collect();
                reply(&link, &Reply::Refreshed(failed), None);
            }
            Request::Describe(pid) => reply(&link, &Reply::Described(describe(pid)), None),
        }
    }
    // SAFETY: ends this child without running what belongs to its parent.
    unsafe { libc::_exit(0) }
}

/// Keeps nothing of the owner's: a helper stuck in the kernel for hours must not
/// hold the gate's lock for hours.
fn stand_apart(link: &OwnedFd, owner: i32) {
    let fd = link.as_raw_fd() as u32;
    // SAFETY: numbers only; what is closed is not used in this process.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != owner {
            libc::_exit(0);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // A signal to the whole group is the owner's to answer.
        for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::syscall(libc::SYS_close_range, 3u32, fd - 1, 0);
        libc::syscall(libc::SYS_close_range, fd + 1, u32::MAX, 0);
    }
}

fn reply(link: &OwnedFd, reply: &Reply, fd: Option<&OwnedFd>) {
    let bytes = serde_json::to_vec(reply).unwrap_or_default();
    let fds: Vec<_> = fd.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let parts = [IoSlice::new(&bytes)];
    let _ = sendmsg::<()>(link.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None);
}

/// One line of `maps`.
struct Line<'a> {
    start: u64,
    end: u64,
    shared: bool,
    writable: bool,
    dev: &'a str,
    ino: u64,
    path: &'a str,
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let mut fields = rest.splitn(5, ' ');
    let protection = fields.next()?;
    let _offset = fields.next()?;
    let dev = fields.next()?;
    let ino = fields.next()?.parse().ok()?;
    Some(Line {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        shared: protection.as_bytes().get(3) == Some(&b's'),
        writable: protection.as_bytes().get(1) == Some(&b'w'),
        dev,
        ino,
        path: fields.next().unwrap_or("").trim_start(),
    })
}

/// The control page that we ourselves have mapped at `address`, as maps names it.
pub fn own_page(address: u64) -> Option<PageId> {
    let text = fs::read_to_string("/proc/self/maps").ok()?;
    let line = text.lines().filter_map(parse_line).find(|l| l.start == address)?;
    Some(PageId { dev: line.dev.into(), ino: line.ino, path: line.path.into() })
}

/// How often, and how far apart, a process that holds a lock is looked at in the middle
/// of an exec.
const IN_EXEC_LOOKS: usize = 300;
const IN_EXEC_PAUSE_NS: u64 = 1_000_000;

/// A look at one image of a process.
///
/// In the middle of an exec there is a moment in which neither the old image is there any
/// more nor anything of the new one: no mappings, no environment. On a busy machine it
/// lasts (160 ms were seen), and a look at it tells nothing. If the process holds a write
/// lock, its set may be half-done, and it is looked at again.
fn look(pid: i32, pages: &[PageId], copied: &mut Vec<Copied>) -> (Looked, Option<OwnedFd>) {
    let stat = || procfs::stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'));
    for _ in 0..IN_EXEC_LOOKS {
        let before = stat();
        let (looked, fd) = look_once(pid, pages, copied);
        // Where that may not be seen, its mappings may not either.
        if looked.page.is_some() || looked.error.is_some() {
            return (looked, fd);
        }
        let (Some(before), Some(after)) = (before, stat()) else { return (looked, fd) };
        let whole = before.in_place && after.in_place && before.image == after.image;
        if whole || !procfs::holds_a_write_lock(pid) {
            return (looked, fd);
        }
        sys::sleep_ns(IN_EXEC_PAUSE_NS);
    }
    // On its way to whichever gate.
    (Looked { pid, page: Some(0), ..Looked::default() }, None)
}

fn look_once(pid: i32, pages: &[PageId], copied: &mut Vec<Copied>) -> (Looked, Option<OwnedFd>) {
    copied.retain(|c| c.pid != pid);
    let mut looked = Looked { pid, ..Looked::default() };
    // Paths need not be UTF-8.
    let text = match fs::read(format!("/proc/{pid}/maps")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            looked.error = e.raw_os_error();
            return (looked, None);
        }
    };
    let mut candidates = Vec::new();
    let mut inherited = false;
    let mut libc = false;
    let mut library = None;
    for line in text.lines().filter_map(parse_line) {
        // Who maps a page writable is a freezer, or its helper; services may only read.
        if line.shared && !line.writable && line.ino != 0 {
            let this = pages.iter().position(|p| p.ino == line.ino && p.dev == line.dev);
            looked.page = looked.page.or(this);
            if this.is_none() && line.end - line.start == gate::control::SIZE as u64 {
                let path = line.path.trim_end_matches(" (deleted)");
                looked.any_page |= path.ends_with("/control");
                let old = pages.iter().position(|p| path == p.path);
                looked.other_page = looked.other_page.or(old);
            }
        }
        if line.shared && line.end - line.start == SIZE as u64 && line.path.starts_with("/dev/zero")
        {
            candidates.push((line.start, line.end));
        }
        let path = line.path.trim_end_matches(" (deleted)");
        if path.ends_with("/libwritegate.so") && library.is_none() {
            library = Some((line.start, line.end, path.to_owned()));
        }
        // Preloaded libraries are mapped before those that a program needs.
        libc |= line.path.contains("/libc.so") || line.path.contains("/libc-2.");
    }
    looked.maps_page = looked.page.is_some();
    looked.library = library.is_some();
    looked.decided = looked.any_page || libc && !looked.library;
    // Also of those that have a libc and not the library: with LD_AUDIT the loader maps an
    // auditor's libc long before it maps ours.
    if looked.page.is_none() && looked.other_page.is_none() {
        let asks_for = asked_gate(pid, pages);
        if let Some((start, end, path)) = library.filter(|_| !looked.any_page) {
            looked.layout = Some(library::layout_of(pid, start, end, &path));
        }
        if looked.layout.is_some_and(LibraryLayout::is_other) {
            // On its way to nowhere: that library does not take our page.
            looked.asks_for = asks_for;
        } else {
            looked.page = asks_for.filter(|_| procfs::holds_a_write_lock(pid));
        }
    }
    if looked.page.is_none() {
        return (looked, None);
    }
    let Some(own) = procfs::innermost_pid(&pid.to_string()) else {
        looked.error = Some(libc::ESRCH);
        return (looked, None);
    };
    // The newest lies lowest more often than not; order does not matter for truth.
    for (start, end) in candidates {
        match open_region(pid, start, end, own, copied) {
            Ok(Candidate::Own(found, fd)) => {
                looked.region = found;
                return (looked, Some(fd));
            }
            Ok(Candidate::Inherited) => inherited = true,
            Ok(Candidate::None) => {}
            Err(e) => looked.region = RegionFound::Denied(e.raw_os_error().unwrap_or(0)),
        }
    }
    if looked.region == RegionFound::None
        && procfs::stat(pid).is_some_and(|s| s.ppid > 0 && sys::share_memory(pid, s.ppid))
    {
        looked.region = RegionFound::Shared;
    } else if looked.region == RegionFound::None && inherited {
        looked.region = RegionFound::Unborn;
    }
    (looked, None)
}

/// The gate that a process's environment names, from the first moment on.
///
/// Between exec and our constructor it maps nothing of ours. It matters if it holds a lock
/// that it took before the exec: its set is half-done until it shows.
///
/// Asked of every process on the machine: what costs least first. Its locks are looked for
/// with its descriptors, for to read `/proc/locks` is to wait some 10 ms for the kernel.
fn asked_gate(pid: i32, pages: &[PageId]) -> Option<usize> {
    let environ = environ(pid);
    let value = |name: &str| environ.get(name).map(String::as_str);
    if !value("LD_PRELOAD")?.contains("libwritegate") {
        return None;
    }
    let dir = value("WRITEGATE_DIR").unwrap_or("/run/writegate").trim_end_matches('/');
    let page = format!("{dir}/{}/control", value("WRITEGATE_GATE").unwrap_or("default"));
    pages.iter().position(|known| known.path == page)
}

/// What a mapping of a region's size turned out to be.
enum Candidate {
    /// This process's region.
    Own(RegionFound, OwnedFd),
    /// The region of the process that forked this one.
    Inherited,
    /// Something else.
    None,
}

/// Opens one candidate.
fn open_region(
    pid: i32,
    start: u64,
    end: u64,
    own: i32,
    copied: &mut Vec<Copied>,
) -> std::io::Result<Candidate> {
    if let Ok(file) = File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}"))
        && file.metadata()?.len() == SIZE as u64
        && let Ok(map) = Mapping::new(file.as_raw_fd(), SIZE, false)
    {
        return Ok(match checked(&map, own) {
            Ok(()) => Candidate::Own(RegionFound::Mapped, file.into()),
            Err(BadRegion::NotItsOwn) => Candidate::Inherited,
            Err(_) => Candidate::None,
        });
    }
    let fd = sys::memfd(SIZE)?;
    let to = Mapping::new(fd.as_raw_fd(), SIZE, true)?;
    let copy = Copied { pid, start, to };
    copy_now(&copy)?;
    match checked(&copy.to, own) {
        Ok(()) => {}
        Err(BadRegion::NotItsOwn) => return Ok(Candidate::Inherited),
        Err(_) => return Ok(Candidate::None),
    }
    copied.push(copy);
    Ok(Candidate::Own(RegionFound::Copied, fd))
}

fn checked(map: &Mapping, own: i32) -> Result<(), BadRegion> {
    let region = ClaimedRegion::of(map.foreign()).ok_or(BadRegion::NotARegion)?;
    region.header().check(own)
}

/// Copies the first page, then as many slots as are in use.
fn copy_now(copy: &Copied) -> std::io::Result<()> {
    let to = copy.to.start();
    // SAFETY: `to` is writable for SIZE bytes.
    unsafe { sys::read_memory(copy.pid, copy.start, to, region::SLOTS_OFFSET)? };
    let used = ClaimedRegion::of(copy.to.foreign()).map_or(0, ClaimedRegion::slots_used);
    let len = used * std::mem::size_of::<region::Slot>();
    if len == 0 {
        return Ok(());
    }
    let from = copy.start + region::SLOTS_OFFSET as u64;
    // SAFETY: SLOTS_OFFSET + len is at most SIZE.
    unsafe { sys::read_memory(copy.pid, from, to.add(region::SLOTS_OFFSET), len) }
}

fn refresh(copy: &Copied) -> bool {
    copy_now(copy).is_ok()
}

fn describe(pid: i32) -> Described {
    Described { pid, cmdline: strings(pid, "cmdline"), environ: environ(pid) }
}

/// What matters of its environment.
fn environ(pid: i32) -> BTreeMap<String, String> {
    let ours = |name: &str| name.starts_with("WRITEGATE_") || name == "LD_PRELOAD";
    let all = strings(pid, "environ");
    let pairs = all.iter().filter_map(|v| v.split_once('=')).filter(|(name, _)| ours(name));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

fn strings(pid: i32, name: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let parts = bytes.split(|b| *b == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps() {
        let line = "7f1200000000-7f1200021000 rw-s 00000000 00:01 1043    /dev/zero (deleted)";
        let line = parse_line(line).unwrap();
        assert_eq!(line.end - line.start, 0x21000);
        assert!(line.shared);
        assert_eq!((line.dev, line.ino, line.path), ("00:01", 1043, "/dev/zero (deleted)"));
    }
}
