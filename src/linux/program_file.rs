//! What a program's file says of itself: word size, whether the loader is asked at all,
//! and where its text lies. (ELF, as far as it is needed here.)

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What matters of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramFile {
    /// 32 or 64.
    pub bits: u8,
    /// It names no loader: LD_PRELOAD means nothing to it.
    pub is_static: bool,
    /// Set-user-ID or set-group-ID.
    pub set_id: bool,
}

/// A row of the program header.
pub struct Segment {
    /// `PT_...`
    pub kind: u32,
    /// `PF_...`
    pub flags: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in the file.
    pub len: u64,
}

/// A number of so many bytes; 0 where there are none.
pub fn little_endian(bytes: &[u8], at: usize, len: usize) -> u64 {
    let part = bytes.get(at..at + len).unwrap_or(&[]);
    part.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Word size, 32 or 64, and the program header; None if it is no ELF file.
pub fn segments(file: &mut File) -> Option<(u8, Vec<Segment>)> {
    let mut head = vec![0; 64];
    file.read_exact(&mut head).ok()?;
    if head.get(..4)? != b"\x7fELF" || *head.get(5)? != 1 {
        return None;
    }
    let wide = *head.get(4)? == 2;
    let (table, size, count) = if wide {
        (little_endian(&head, 32, 8), little_endian(&head, 54, 2), little_endian(&head, 56, 2))
    } else {
        (little_endian(&head, 28, 4), little_endian(&head, 42, 2), little_endian(&head, 44, 2))
    };
    let mut bytes = vec![0; (size * count) as usize];
    file.seek(SeekFrom::Start(table)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    let segments = bytes.chunks(size.max(1) as usize).map(|at| Segment {
        kind: little_endian(at, 0, 4) as u32,
        flags: little_endian(at, if wide { 4 } else { 24 }, 4) as u32,
        offset: if wide { little_endian(at, 8, 8) } else { little_endian(at, 4, 4) },
        len: if wide { little_endian(at, 32, 8) } else { little_endian(at, 16, 4) },
    });
    Some((if wide { 64 } else { 32 }, segments.collect()))
}

/// Looks at a program or library; None if it is no ELF file that we may read.
pub fn read(path: &Path) -> Option<ProgramFile> {
    let mut file = File::open(path).ok()?;
    let mode = file.metadata().ok()?.mode();
    let (bits, segments) = segments(&mut file)?;
    let is_static = !segments.iter().any(|s| s.kind == libc::PT_INTERP);
    Some(ProgramFile { bits, is_static, set_id: mode & (libc::S_ISUID | libc::S_ISGID) != 0 })
}

/// Will this program never load our library, whatever its environment says?
pub fn never_loads_ours(path: &Path) -> bool {
    // The loader itself names no loader, and may be told to load everything.
    let is_loader = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_bytes().starts_with(b"ld")
    };
    read(path).is_some_and(|file| file.bits != 64 || file.is_static)
        && !fs::read_link(path).is_ok_and(|link| is_loader(&link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program() {
        let own = read(Path::new("/proc/self/exe")).unwrap();
        assert_eq!((own.bits, own.is_static, own.set_id), (64, false, false));
        assert!(!never_loads_ours(Path::new("/proc/self/exe")));
    }
}
