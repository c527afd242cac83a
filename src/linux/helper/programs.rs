//! Is a process a static program: one that no loader has begun, and that has loaded nothing itself?

use crate::linux::foreign::read_memory;
use crate::linux::procfs::auxv;
use crate::linux::procfs::maps::Line;

/// So many files beside its own are asked whether they are programs. (A static program may read some by a
/// private mapping: its locale.)
const ASKED: usize = 16;
const ELF: [u8; 4] = *b"\x7fELF";

/// The files of which it maps parts as a loader does: private ones.
#[derive(Default)]
pub struct Programs {
    /// Each by device and inode, and where it lies.
    files: Vec<(String, u64, u64)>,
}

impl Programs {
    /// One of its mappings.
    pub fn take(&mut self, line: &Line<'_>) {
        let is_it = |file: &(String, u64, u64)| file.0 == line.dev && file.1 == line.ino;
        if !line.shared
            && line.ino != 0
            && self.files.len() <= ASKED + 1
            && !self.files.iter().any(is_it)
        {
            self.files.push((line.dev.to_owned(), line.ino, line.start));
        }
    }

    /// Does nothing but its own code speak for a library that is to come? Some static programs are loaders
    /// themselves (valgrind, an emulator, the loader by its own name). They map what they load: the first
    /// part of its file holds its head.
    pub fn is_static(&self, pid: i32) -> bool {
        let is_program = |start: u64| {
            let mut head = [0; 4];
            read_memory(pid, start, &mut head).is_err() || head == ELF
        };
        let loaded = || self.files.iter().filter(|(.., start)| is_program(*start)).count();
        self.files.len() <= ASKED + 1 && auxv::loader(pid) == Some(0) && loaded() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::clock;
    use crate::linux::procfs::maps;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    /// open(path, O_RDONLY), mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0), and pause() again and again; the
    /// path follows.
    const CODE: [u8; 56] = [
        0xb8, 0x02, 0x00, 0x00, 0x00, 0x48, 0x8d, 0x3d, 0x2c, 0x00, 0x00, 0x00, 0x31, 0xf6, 0x0f,
        0x05, 0x41, 0x89, 0xc0, 0xb8, 0x09, 0x00, 0x00, 0x00, 0x31, 0xff, 0xbe, 0x00, 0x10, 0x00,
        0x00, 0xba, 0x01, 0x00, 0x00, 0x00, 0x41, 0xba, 0x02, 0x00, 0x00, 0x00, 0x45, 0x31, 0xc9,
        0x0f, 0x05, 0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7,
    ];
    const BASE: u64 = 0x40_0000;

    /// A static program that maps this file.
    fn program(name: &str, maps: &Path) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("writegate-test-{name}-{}", std::process::id()));
        let maps = maps.as_os_str().as_encoded_bytes();
        let (len, begins) = (64 + 56 + CODE.len() + maps.len() + 1, BASE + 64 + 56);
        let words = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        // 64 bits, little-endian; a program for x86_64 with one header, all in one part.
        let mut bytes =
            [&ELF[..], &[2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0]].concat();
        bytes.extend(words(&[begins, 64, 0]));
        bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        bytes.extend(words(&[0, BASE, BASE, len as u64, len as u64, 4096]));
        bytes.extend(CODE);
        bytes.extend(maps);
        bytes.push(0);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    /// What is told of this program when it has mapped that file.
    fn is_static(words: &[&Path], when: &str) -> bool {
        let start = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).stdout(Stdio::null()).spawn()
        };
        let mut child = loop {
            match start() {
                // Another test has just made a child, which has our file open.
                Err(e) if e.raw_os_error() == Some(libc::ETXTBSY) => clock::sleep_ns(1_000_000),
                started => break started.unwrap(),
            }
        };
        let pid = child.id() as i32;
        let until = clock::now_ns() + 10_000_000_000;
        let told = loop {
            let (mut programs, mut shows) = (Programs::default(), false);
            let read = maps::each(pid, |line| {
                shows |= line.path.contains(when);
                programs.take(&line);
            });
            if read.is_ok() && shows || clock::now_ns() > until {
                break shows.then(|| programs.is_static(pid));
            }
            clock::sleep_ns(1_000_000);
        };
        child.kill().unwrap();
        child.wait().unwrap();
        told.expect("it never mapped that file")
    }

    #[test]
    fn a_program_without_a_loader_is_static_unless_it_loads_another() {
        let own = std::env::current_exe().unwrap();
        let text = program("text", Path::new("/etc/passwd"));
        let loads = program("loads", &own);
        let told =
            (is_static(&[&text], "/etc/passwd"), is_static(&[&loads], &own.to_string_lossy()));
        fs::remove_file(text).unwrap();
        fs::remove_file(loads).unwrap();
        assert_eq!(told, (true, false));
    }

    #[test]
    fn a_program_with_a_loader_and_that_loader_by_its_own_name_are_not() {
        let (sleep, of) = (Path::new("/bin/sleep"), Path::new("60"));
        assert!(!is_static(&[sleep, of], "/libc"));
        let loader = fs::canonicalize("/lib64/ld-linux-x86-64.so.2").unwrap();
        assert!(!is_static(&[&loader, sleep, of], "/libc"));
    }
}
