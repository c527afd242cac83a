//! Which files a process can change by a store alone: those that it has mapped shared and writable,
//! whoever mapped them (an ancestor may have, or they were read-only once), and whether a
//! descriptor of them is open still or not.

use super::protocol::{MappedFile, Mappings};
use crate::linux::file::cached_stat;
use crate::linux::look::WhyNot;
use crate::linux::procfs::bounded::Extent;
use crate::linux::procfs::maps::{self, Line};
use crate::linux::procfs::seen_by;
use crate::linux::procfs::shared_mappings::{self, Which};
use std::collections::BTreeSet;
use std::path::Path;

/// What the kernel calls an io_uring's rings.
const IO_URING: &str = "anon_inode:[io_uring]";
/// What the files of a C library are called: glibc's, also an old one's, and musl's.
pub const C_LIBRARIES: [&str; 4] = ["/libc.so", "/libc-2.", "/ld-musl", "/libc.musl"];
/// So many bytes of paths fit into an answer, as JSON has them.
const PATHS_MAX: usize = 8 * 1024;

/// Finds them out.
pub fn of(pid: i32) -> Result<Mappings, WhyNot> {
    let mut stores = Stores::of(pid, PATHS_MAX);
    let all = [Which::Shared, Which::Executable].into_iter().all(|which| {
        matches!(shared_mappings::each(pid, which, |line| stores.take(&line)), Ok(Extent::Whole))
    });
    if all {
        return stores.whole().ok_or(WhyNot::TooMuch);
    }
    // Where the first thread has ended, another one shows them.
    let by = seen_by(pid);
    let mut stores = Stores::of(by, PATHS_MAX);
    match maps::each(by, |line| stores.take(&line)) {
        Ok(Extent::Whole) => stores.whole().ok_or(WhyNot::TooMuch),
        Ok(Extent::CutOff) => Err(WhyNot::TooMuch),
        Err(e) => Err(WhyNot::of(&e)),
    }
}

/// Takes in one mapping after the other.
pub struct Stores {
    pid: i32,
    files: BTreeSet<MappedFile>,
    io_uring: bool,
    libcs: Libcs,
    /// So many bytes of paths more; none: there were more than that.
    room: Option<usize>,
}

impl Stores {
    /// Of a process, with so many bytes of paths at most.
    pub fn of(pid: i32, room: usize) -> Stores {
        Stores {
            pid,
            files: BTreeSet::new(),
            io_uring: false,
            libcs: Libcs::default(),
            room: Some(room),
        }
    }

    /// One of its mappings.
    pub fn take(&mut self, line: &Line<'_>) {
        self.libcs.take(line);
        let Some(room) = self.room.filter(|_| line.shared && line.ino != 0) else { return };
        self.io_uring |= line.path == IO_URING;
        if line.writable
            && let Some(file) = file(self.pid, line)
            && !self.files.contains(&file)
        {
            self.room = room.checked_sub(file.path.len());
            self.files.insert(file);
        }
    }

    /// All of them were taken in. None: they are too many.
    pub fn whole(self) -> Option<Mappings> {
        let files = self.files.into_iter().collect();
        let second_libc = self.libcs.count > 1;
        self.room.map(|_| Mappings { files, io_uring: self.io_uring, second_libc })
    }
}

/// The C libraries that a process has loaded: one, but where `dlmopen` or an auditor has brought another.
#[derive(Default)]
struct Libcs {
    count: u32,
    /// Of which file the last part was, and where that ended: parts with different rights lie side by side.
    last: Option<(u64, u64)>,
}

impl Libcs {
    fn take(&mut self, line: &Line<'_>) {
        let named = || C_LIBRARIES.iter().any(|name| line.path.contains(name));
        if line.executable && line.ino != 0 && named() {
            self.count += (self.last != Some((line.ino, line.start))) as u32;
            self.last = Some((line.ino, line.end));
        }
    }
}

/// The file of a mapping; none: it is none that is stored anywhere.
fn file(pid: i32, line: &Line<'_>) -> Option<MappedFile> {
    // Anonymous shared memory, memfd, System V: all of one file system in memory.
    if ["/dev/zero", "/memfd:", "/SYSV", "anon_inode:"]
        .iter()
        .any(|name| line.path.starts_with(name))
    {
        return None;
    }
    let link = format!("/proc/{pid}/map_files/{:x}-{:x}", line.start, line.end);
    let path = line.path_once().as_bytes().to_vec();
    match cached_stat(Path::new(&link)) {
        Some(stat) if !stat.is(libc::S_IFREG) => None,
        // No snapshot has what was removed. A file that was made without a name may still get one.
        Some(stat) if stat.names == 0 && !is_nameless(&path, line.ino) => None,
        Some(stat) => {
            Some(MappedFile { dev: stat.dev, ino: stat.ino, names: Some(stat.names), path })
        }
        // It takes CAP_CHECKPOINT_RESTORE. On btrfs maps shows another device than stat.
        None => Some(MappedFile { dev: line.dev_number()?, ino: line.ino, names: None, path }),
    }
}

/// Is this what the kernel calls a file that was made by O_TMPFILE?
fn is_nameless(path: &[u8], ino: u64) -> bool {
    path.ends_with(format!("/#{ino}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::mapping::Mapping;
    use std::fs::OpenOptions;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_second_c_library_is_one_that_lies_elsewhere() {
        let text = |parts: &[(u64, u64, u64)]| {
            let mut libcs = Libcs::default();
            for (start, end, ino) in parts {
                let line = format!("{start:x}-{end:x} r-xp 00000000 08:01 {ino} /lib/libc.so.6");
                maps::lines(&line).for_each(|line| libcs.take(&line));
            }
            libcs.count
        };
        assert_eq!(text(&[]), 0);
        assert_eq!(text(&[(0x1000, 0x2000, 7), (0x2000, 0x3000, 7)]), 1, "two parts of one");
        assert_eq!(text(&[(0x1000, 0x2000, 7), (0x9000, 0xa000, 7)]), 2);
        assert_eq!(of(std::process::id() as i32).map(|seen| seen.second_libc), Ok(false));
    }

    #[test]
    fn a_file_that_is_mapped_writable_shows_and_its_descriptor_may_be_closed() {
        let path = std::env::temp_dir().join(format!("writegate-test-maps-{}", std::process::id()));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.unwrap();
        file.set_len(4096).unwrap();
        let ino = file.metadata().unwrap().ino();
        let pid = std::process::id() as i32;
        let shows = || of(pid).unwrap().files.iter().any(|file| file.ino == ino);
        let reading = Mapping::new(&file, 4096, false).unwrap();
        assert!(!shows(), "one that is only read");
        let writing = Mapping::new(&file, 4096, true).unwrap();
        drop((reading, file));
        assert!(shows());
        drop(writing);
        assert!(!shows());
        std::fs::remove_file(path).unwrap();
    }
}
