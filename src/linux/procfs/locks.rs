//! `/proc/PID/fdinfo` and `/proc/locks`: the kernel's locks, and how descriptors are open.

use super::bounded;
use crate::linux::file::cached_stat;
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::look_time::LookTime;
use crate::linux::process;
use crate::linux::procfs::seen_by;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;

/// The kinds of locks that the kernel tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KernelLockKind {
    /// fcntl F_SETLK, lockf.
    Posix,
    /// flock.
    Flock,
    /// fcntl F_OFD_SETLK.
    Ofd,
    /// fcntl F_SETLEASE.
    Lease,
}

/// One lock, as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct KernelLock {
    /// Its kind.
    pub kind: KernelLockKind,
    /// For writing. (A lease that is being broken counts as one until it is given up.)
    pub write: bool,
    /// The process that took it; -1: of a description, 0: not in our PID namespace, or dead.
    pub pid: i32,
    /// `MAJOR:MINOR:INODE`. Good for comparing with what the kernel prints elsewhere: `stat` may
    /// show another device.
    pub file: String,
    /// First and last byte, as printed.
    pub range: String,
}

impl KernelLock {
    /// Inode of the locked file.
    pub fn ino(&self) -> u64 {
        self.file.rsplit(':').next().and_then(|ino| ino.parse().ok()).unwrap_or(0)
    }

    /// Device of the locked file, where that is what `stat` says too: a file system without a disk of
    /// its own (btrfs, overlays) may show another one there.
    pub fn stat_dev(&self) -> Option<u64> {
        let (major, minor) = self.device()?;
        (major != 0).then(|| libc::makedev(major, minor))
    }

    /// The same as the kernel's list has it: major and minor number.
    pub fn device(&self) -> Option<(u32, u32)> {
        let mut numbers = self.file.split(':').map(|number| u32::from_str_radix(number, 16));
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// A lock on a descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptorLock {
    /// Number of the descriptor.
    pub fd: i32,
    /// What the kernel says of it.
    pub lock: KernelLock,
    /// Guards writing: for writing, or an flock shared on a descriptor open for writing.
    pub guards: bool,
}

/// `1: POSIX  ADVISORY  WRITE 1234 08:02:5678 0 EOF`; none for one that only waits (`->`).
pub fn parse(line: &str) -> Option<KernelLock> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let kind = match fields.next()? {
        "POSIX" => KernelLockKind::Posix,
        "FLOCK" => KernelLockKind::Flock,
        "OFDLCK" => KernelLockKind::Ofd,
        "LEASE" => KernelLockKind::Lease,
        _ => return None,
    };
    let breaking = fields.next()? == "BREAKING";
    let write = fields.next()? == "WRITE" || breaking;
    let pid = fields.next()?.parse().ok()?;
    let file = fields.next()?.to_owned();
    let range = format!("{} {}", fields.next()?, fields.next()?);
    Some(KernelLock { kind, write, pid, file, range })
}

/// The kernel hands out so much of a list at a time. Between two pieces a lock may go, and the one after
/// it is then skipped.
const PIECE: usize = 4096;

/// Every lock that the kernel shows us (`/proc/locks`). A list that comes in pieces is read twice, and
/// what either reading shows is there.
pub fn all() -> Look<Vec<KernelLock>> {
    let read = || {
        let bytes = bounded::whole("/proc/locks").map_err(|e| WhyNot::of(&e))?;
        let lines = String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect::<Vec<_>>();
        // A line that does not fit is handed out with the next piece.
        Ok((lines, bytes.len() > PIECE / 2))
    };
    let twice = || {
        let (mut lines, in_pieces) = read()?;
        if in_pieces {
            let known: HashSet<KernelLock> = lines.iter().cloned().collect();
            lines.extend(read()?.0.into_iter().filter(|line| !known.contains(line)));
        }
        Ok(lines)
    };
    twice().map_or_else(Look::NotSeen, Look::Seen)
}

/// Asks for the list and drops it. A reading that is the first for some 10 ms waits for the kernel (a
/// grace period: 5 to 15 ms); each after that takes some µs.
pub fn keep_list_ready() {
    let _ = File::open("/proc/locks").and_then(|mut list| list.read(&mut [0]));
}

/// The locks on all descriptors of a process, or of a thread (`PID/task/TID`).
pub fn on_descriptors(of: &str) -> Look<Vec<DescriptorLock>> {
    on_descriptors_of_file(of, None)
}

/// The same on those that are of a file with this inode; none: on all.
pub fn on_descriptors_of_file(of: &str, ino: Option<u64>) -> Look<Vec<DescriptorLock>> {
    let locks = |info: FdInfo| Some(info.locks_on());
    fdinfos_of(of, ino, locks).map(|found| found.into_iter().flatten().collect())
}

/// The locks on one descriptor of a process; none if that cannot be read.
pub fn on_descriptor(pid: i32, fd: i32) -> Vec<KernelLock> {
    let Ok(bytes) = bounded::whole(format!("/proc/{pid}/fdinfo/{fd}")) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let info = FdInfo { fd: fd.to_string().into(), text };
    info.locks_on().into_iter().map(|on| on.lock).collect()
}

/// One descriptor of a process, as `fdinfo` shows it.
struct FdInfo {
    /// Its number, as the directory names it.
    fd: OsString,
    text: String,
}

impl FdInfo {
    fn locks(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| line.starts_with("lock:"))
    }

    /// The locks on it.
    fn locks_on(&self) -> Vec<DescriptorLock> {
        let Some(fd) = self.fd.to_str().and_then(|fd| fd.parse().ok()) else { return Vec::new() };
        let locks = self.locks().filter_map(|line| parse(line.strip_prefix("lock:")?));
        let guarded = |lock: KernelLock| {
            let shared = lock.kind == KernelLockKind::Flock && self.is_open_for_writing();
            DescriptorLock { fd, guards: lock.write || shared, lock }
        };
        locks.map(guarded).collect()
    }

    /// So many descriptors lie in it, of a socket, on their way to whoever reads there.
    fn on_their_way(&self) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix("scm_fds:")).map(str::trim)
    }

    /// A directory, or O_PATH, never is.
    fn is_open_for_writing(&self) -> bool {
        self.flags().is_some_and(|f| f & libc::O_PATH == 0 && f & libc::O_ACCMODE != libc::O_RDONLY)
    }

    fn flags(&self) -> Option<i32> {
        let digits = self.text.lines().find_map(|line| line.strip_prefix("flags:"))?;
        i32::from_str_radix(digits.trim(), 8).ok()
    }
}

/// A process may have a million descriptors, and no server has as many thousands: what this time does
/// not suffice for is not looked at.
const LOOK_NS: u64 = 50_000_000;
/// How often it is looked until the thread by which that is done stays the same.
const LOOKS: usize = 6;

/// What `keep` makes of each descriptor of a process. One that is closed meanwhile is none. A main
/// thread that exits loses them, and the process keeps them as long as another thread lives.
fn fdinfos<T>(pid: i32, keep: impl Fn(FdInfo) -> Option<T>) -> Look<Vec<T>> {
    let mut by = pid;
    for _ in 0..LOOKS {
        let look = fdinfos_of(&by.to_string(), None, &keep);
        let now = seen_by(pid);
        if now == by {
            return look;
        }
        by = now;
    }
    Look::NotSeen(WhyNot::Changing)
}

/// The same of a process as its directory in /proc shows it, or of a thread (`PID/task/TID`); of those
/// descriptors that are of a file with this inode, or of all.
fn fdinfos_of<T>(of: &str, ino: Option<u64>, keep: impl Fn(FdInfo) -> Option<T>) -> Look<Vec<T>> {
    let time = LookTime::of(LOOK_NS);
    let read = || -> Result<Vec<T>, WhyNot> {
        let mut infos = Vec::new();
        let dir = fs::read_dir(format!("/proc/{of}/fdinfo")).map_err(|e| WhyNot::of(&e))?;
        for info in dir {
            if time.is_over() {
                return Err(WhyNot::TooMuch);
            }
            let info = info.map_err(|e| WhyNot::of(&e))?;
            let file = || {
                let name = info.file_name();
                cached_stat(Path::new(&format!("/proc/{of}/fd/{}", name.to_string_lossy())))
            };
            // To ask what file it is costs a fifth of reading this. Where that fails, this says why.
            if ino.is_some_and(|ino| file().is_some_and(|file| file.ino != ino)) {
                continue;
            }
            match bounded::whole(info.path()) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    infos.extend(keep(FdInfo { fd: info.file_name(), text }));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(WhyNot::of(&e)),
            }
        }
        Ok(infos)
    };
    match read() {
        Ok(infos) => Look::Seen(infos),
        Err(_) if !is_there(of) => Look::Gone(Proof::NoProcess),
        Err(why) => Look::NotSeen(why),
    }
}

/// Is this process, or this thread of one, there?
fn is_there(of: &str) -> bool {
    let number = |text: &str| text.parse().ok();
    match of.split_once("/task/") {
        None => number(of).is_none_or(process::is_there),
        Some((pid, tid)) => {
            number(pid).zip(number(tid)).is_none_or(|(pid, tid)| process::has_thread(pid, tid))
        }
    }
}

/// Does the kernel know a lock of this process that guards writing, on a file that it has open?
pub fn holds_a_guarding_lock(pid: i32) -> Look<bool> {
    let guarding = |info: FdInfo| info.locks_on().iter().any(|lock| lock.guards).then_some(());
    fdinfos(pid, guarding).map(|found| !found.is_empty())
}

/// Does the kernel know no lock at all of this process, on a file that it has open?
pub fn holds_none(pid: i32) -> Look<bool> {
    fdinfos(pid, |info| info.locks().next().map(drop)).map(|found| found.is_empty())
}

/// Do descriptors lie in a socket of this process? Also if that cannot be told.
pub fn may_have_some_on_their_way(pid: i32) -> bool {
    let some = |info: FdInfo| info.on_their_way().filter(|number| *number != "0").map(drop);
    match fdinfos(pid, some) {
        Look::Seen(found) => !found.is_empty(),
        Look::Gone(_) => false,
        Look::NotSeen(_) => true,
    }
}

/// Does this kernel tell of descriptors in sockets (Linux 5.5 and newer)?
pub fn on_their_way_is_told() -> bool {
    static IS_TOLD: OnceLock<bool> = OnceLock::new();
    *IS_TOLD.get_or_init(|| {
        let Ok((one, _other)) = UnixStream::pair() else { return false };
        let path = format!("/proc/self/fdinfo/{}", one.as_raw_fd());
        fs::read_to_string(path).is_ok_and(|text| text.contains("scm_fds:"))
    })
}

/// Is the descriptor that this link in `/proc/PID/fd` stands for open for writing? What the link itself
/// allows is what its descriptor was opened for (of O_PATH: nothing). Not if it was closed meanwhile.
pub fn open_for_writing(link: &Path) -> Look<bool> {
    match fs::symlink_metadata(link) {
        Ok(link) => Look::Seen(link.mode() & 0o200 != 0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Look::Seen(false),
        Err(e) => Look::NotSeen(WhyNot::of(&e)),
    }
}

/// Process and file (`MAJOR:MINOR:INODE`) of every write lock that the kernel knows; each
/// process once.
pub fn write_lock_owners() -> Look<Vec<(i32, String)>> {
    all().map(owners)
}

fn owners(locks: Vec<KernelLock>) -> Vec<(i32, String)> {
    let mut seen = HashSet::new();
    let mine = locks.into_iter().filter(|lock| lock.write && lock.pid > 0);
    mine.filter(|lock| seen.insert(lock.pid)).map(|lock| (lock.pid, lock.file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_that_stat_shows_too() {
        let of = |file: &str| {
            parse(&format!("1: POSIX  ADVISORY  WRITE 9 {file}:77 0 EOF"))
                .map(|lock| lock.stat_dev())
        };
        assert_eq!(of("fe:0a"), Some(Some(libc::makedev(0xfe, 0x0a))));
        assert_eq!(of("00:2b"), Some(None), "a device of the kernel's own");
    }

    #[test]
    fn one_that_waits_or_reads_holds_no_write_lock() {
        let text = "1: POSIX  ADVISORY  WRITE 1234 08:02:56 0 EOF\n\
                    1: -> POSIX  ADVISORY  WRITE 7 08:02:56 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 9 00:1b:3 0 EOF\n\
                    3: POSIX  ADVISORY  READ  11 08:02:57 0 EOF\n\
                    4: OFDLCK ADVISORY  WRITE -1 08:02:58 0 EOF\n\
                    5: POSIX  ADVISORY  WRITE 1234 08:02:59 0 EOF\n\
                    6: LEASE  ACTIVE    READ 12 08:02:60 0 EOF\n";
        let locks = text.lines().filter_map(parse).collect();
        assert_eq!(owners(locks), [(1234, "08:02:56".into()), (9, "00:1b:3".into())]);
    }

    #[test]
    fn what_a_line_says() {
        let of = |line: &str| parse(line).map(|lock| (lock.kind, lock.write, lock.pid));
        assert_eq!(
            of("1: POSIX  ADVISORY  WRITE 12 08:02:56 0 EOF"),
            Some((KernelLockKind::Posix, true, 12))
        );
        assert_eq!(
            of("1: OFDLCK ADVISORY  READ  -1 08:02:56 3 9"),
            Some((KernelLockKind::Ofd, false, -1))
        );
        assert_eq!(
            of("1: LEASE  ACTIVE    WRITE 12 08:02:56 0 EOF"),
            Some((KernelLockKind::Lease, true, 12))
        );
        assert_eq!(
            of("1: LEASE  BREAKING  READ  12 08:02:56 0 EOF"),
            Some((KernelLockKind::Lease, true, 12))
        );
        assert_eq!(of("1: -> POSIX  ADVISORY  WRITE 7 08:02:56 0 EOF"), None);
        let lock = parse("1: FLOCK  ADVISORY  WRITE 9 00:1b:3 0 EOF").unwrap();
        assert_eq!((lock.ino(), lock.range.as_str()), (3, "0 EOF"));
    }

    #[test]
    fn a_shared_flock_guards_where_its_descriptor_is_open_for_writing() {
        let me = std::process::id();
        let path = std::env::temp_dir().join(format!("writegate-test-shared-{me}"));
        let writer = fs::File::create(&path).unwrap();
        let reader = fs::File::open(&path).unwrap();
        for file in [&writer, &reader] {
            file.lock_shared().unwrap();
        }
        let guards_on = |file: &fs::File| {
            let fd = file.as_raw_fd();
            let Look::Seen(locks) = on_descriptors(&me.to_string()) else { panic!("not seen") };
            locks.iter().find(|lock| lock.fd == fd).unwrap().guards
        };
        assert!(guards_on(&writer) && !guards_on(&reader));
        let Look::Seen(all) = all() else { panic!("not seen") };
        assert!(all.iter().any(|lock| lock.pid == me as i32 && !lock.write));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_lock_of_our_own_is_seen() {
        let pid = std::process::id() as i32;
        let path = std::env::temp_dir().join(format!("writegate-test-lock-{pid}"));
        let file = fs::File::create(&path).unwrap();
        let lock = crate::linux::file::try_lock(file).unwrap().unwrap();
        assert!(holds_a_guarding_lock(pid) == Look::Seen(true));
        assert_eq!(holds_none(pid), Look::Seen(false));
        let Look::Seen(owners) = write_lock_owners() else { panic!("no /proc/locks") };
        assert!(owners.iter().any(|(owner, _)| *owner == pid));
        let me = pid.to_string();
        let Look::Seen(locks) = on_descriptors(&me) else { panic!("no descriptors") };
        let is_writers = |fd: i32| open_for_writing(Path::new(&format!("/proc/{me}/fd/{fd}")));
        assert!(locks.iter().any(|lock| is_writers(lock.fd) == Look::Seen(true)));
        // Other tests have locks of this process too.
        let ino = fs::metadata(&path).unwrap().ino();
        let is_found = |of: u64| match on_descriptors_of_file(&me, Some(of)) {
            Look::Seen(locks) => locks.iter().any(|on| on.fd == lock.as_raw_fd()),
            _ => panic!("no descriptors"),
        };
        assert!(is_found(ino) && !is_found(u64::MAX));
        drop(lock);
        let _ = fs::remove_file(&path);
        assert_eq!(holds_a_guarding_lock(i32::MAX), Look::Gone(Proof::NoProcess));
    }
}
