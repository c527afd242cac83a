//! Finds the region of a process: mapped through `/proc/PID/map_files`, or, where that may not
//! be, copied to a file of ours and copied afresh before each pass.

use super::pages::is_anonymous_link;
use super::protocol::{LeftFile, RegionFound};
use crate::linux::foreign::{anonymous_file, read_memory};
use crate::linux::mapping::Mapping;
use gate::check::BadRegion;
use gate::claimed::ClaimedRegion;
use gate::locks::{FOR_LIFE, INHERITED, Lock, LockKind, ROOT_LEFT};
use gate::region::{NAMES_OFFSET, SIZE, SLOTS_OFFSET, Slot};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Acquire;

/// One region that is copied, because we may not map it.
pub struct Copied {
    /// Whose it is.
    pub pid: i32,
    by: i32,
    start: u64,
    to: Mapping,
}

impl Copied {
    /// Copies the first page, then as many slots as are in use, and the names of lock files, if
    /// there are any.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.copy(0, SLOTS_OFFSET)?;
        let used = ClaimedRegion::of(self.to.foreign()).map_or(0, ClaimedRegion::slots_used);
        if used > 0 {
            self.copy(SLOTS_OFFSET, used * size_of::<Slot>())?;
        }
        let of_file = |region: ClaimedRegion<'_>| region.locks().any(|l| l.kind == LockKind::Dot);
        if ClaimedRegion::of(self.to.foreign()).is_some_and(of_file) {
            self.copy(NAMES_OFFSET, SIZE - NAMES_OFFSET)?;
        }
        Ok(())
    }

    fn copy(&mut self, offset: usize, len: usize) -> io::Result<()> {
        let from = self.start + offset as u64;
        let to = self.to.bytes_mut().and_then(|bytes| bytes.get_mut(offset..offset + len));
        read_memory(self.by, from, to.ok_or(io::ErrorKind::InvalidInput)?)
    }
}

/// What a mapping of a region's size turned out to be.
pub enum Candidate {
    /// This process's region, and the lock files that came along.
    Own(RegionFound, OwnedFd, Vec<LeftFile>),
    /// The region of the process that forked this one.
    Inherited(Forker),
    /// Something else.
    None,
}

/// What a region says of the process that made it.
pub struct Forker {
    /// What it calls itself.
    pub pid: i32,
    /// Its lock files.
    pub files: Vec<LeftFile>,
    /// Where its list of directories lies, and how long it is: in its children too.
    pub named: (u64, u64),
}

/// Opens one candidate of process `pid`, which is looked at by its thread `by` and calls itself
/// `own`.
pub fn open_region(
    (pid, by): (i32, i32),
    start: u64,
    end: u64,
    own: i32,
    copied: &mut Vec<Copied>,
) -> io::Result<Candidate> {
    // Only what is proved to be anonymous shared memory is mapped: that cannot be cut off under us.
    let link = format!("/proc/{by}/map_files/{start:x}-{end:x}");
    if fs::read_link(&link).is_ok_and(|to| is_anonymous_link(&to))
        && let Ok(file) = File::open(&link)
        && file.metadata()?.len() == SIZE as u64
        && let Ok(map) = Mapping::new(&file, SIZE, false)
    {
        return Ok(match check(&map, own) {
            Ok(()) => Candidate::Own(RegionFound::Mapped, file.into(), came_along(&map)),
            Err(BadRegion::NotItsOwn) => inherited(&map),
            Err(_) => Candidate::None,
        });
    }
    let fd = anonymous_file(SIZE)?;
    let mut copy = Copied { pid, by, start, to: Mapping::new(&fd, SIZE, true)? };
    copy.refresh()?;
    match check(&copy.to, own) {
        Ok(()) => {}
        Err(BadRegion::NotItsOwn) => return Ok(inherited(&copy.to)),
        Err(_) => return Ok(Candidate::None),
    }
    let came = came_along(&copy.to);
    copied.push(copy);
    Ok(Candidate::Own(RegionFound::Copied, fd, came))
}

fn inherited(map: &Mapping) -> Candidate {
    let Some(region) = ClaimedRegion::of(map.foreign()) else { return Candidate::None };
    let header = region.header();
    let files =
        region.locks().filter(|lock| lock.kind == LockKind::Dot && lock.flags & FOR_LIFE == 0);
    Candidate::Inherited(Forker {
        pid: header.pid.load(Acquire),
        files: files.map(|lock| left_file(region, &lock)).collect(),
        named: (header.named_at.load(Acquire), header.named_len.load(Acquire)),
    })
}

/// The lock files that came to this process with its fork.
fn came_along(map: &Mapping) -> Vec<LeftFile> {
    let Some(region) = ClaimedRegion::of(map.foreign()) else { return Vec::new() };
    let came = |lock: &Lock| {
        lock.kind == LockKind::Dot && lock.flags & (FOR_LIFE | INHERITED) == INHERITED
    };
    region.locks().filter(came).map(|lock| left_file(region, &lock)).collect()
}

fn left_file(region: ClaimedRegion<'_>, lock: &Lock) -> LeftFile {
    let path = region.dotlock_path(lock.dev, lock.ino).filter(|_| lock.flags & ROOT_LEFT == 0);
    let path = path.map_or_else(Vec::new, |path| path.bytes().to_vec());
    LeftFile { dev: lock.dev, ino: lock.ino, path }
}

fn check(map: &Mapping, own: i32) -> Result<(), BadRegion> {
    let region = ClaimedRegion::of(map.foreign()).ok_or(BadRegion::NotARegion)?;
    region.header().check(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate::region::{Header, MAGIC, SLOTS};
    use std::mem::offset_of;

    fn make_region(map: &mut Mapping, pid: i32) {
        let bytes = map.bytes_mut().unwrap();
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset_of!(Header, magic), &MAGIC.to_ne_bytes());
        put(offset_of!(Header, layout), &gate::layout::LAYOUT.to_ne_bytes());
        put(offset_of!(Header, slots), &(SLOTS as u32).to_ne_bytes());
        put(offset_of!(Header, nonce), &7u64.to_ne_bytes());
        put(offset_of!(Header, pid), &pid.to_ne_bytes());
    }

    #[test]
    fn only_what_is_anonymous_is_mapped() {
        let me = std::process::id() as i32;
        let memfd = anonymous_file(SIZE).unwrap();
        let open = |mut map: Mapping| {
            make_region(&mut map, me);
            let (from, mut copied) = (map.address(), Vec::new());
            match open_region((me, me), from, from + SIZE as u64, me, &mut copied).unwrap() {
                Candidate::Own(found, ..) => found,
                _ => panic!("no region"),
            }
        };
        // Whoever has a file can cut it off, and to look at what is mapped of it is SIGBUS.
        assert_eq!(open(Mapping::new(&memfd, SIZE, true).unwrap()), RegionFound::Copied);
        let anonymous = open(Mapping::anonymous(SIZE).unwrap());
        // Without rights, map_files is not to be had, and it is copied too.
        let may = nix::unistd::geteuid().is_root();
        assert_eq!(anonymous == RegionFound::Mapped, may);
    }
}
