//! What a program's file says about how it is started.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// More program headers than that no linker makes.
const HEADERS_MAX: u64 = 256;

/// Is the program of this process linked statically: no loader runs, so nothing is preloaded? False if
/// that cannot be told. (A loader that was started by its own name looks so too, and is none.)
pub fn runs_without_loader(pid: i32) -> bool {
    let exe = format!("/proc/{pid}/exe");
    let is_loader = fs::read_link(&exe).is_ok_and(|path| {
        path.file_name().is_none_or(|name| name.to_string_lossy().contains(".so"))
    });
    !is_loader && has_interpreter(Path::new(&exe)) == Some(false)
}

/// Does it name a loader (PT_INTERP)? None: it cannot be read, or is no ELF file.
fn has_interpreter(path: &Path) -> Option<bool> {
    let file = File::open(path).ok()?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).ok()?;
    let number = |at: usize, len: usize| {
        head[at..at + len].iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte))
    };
    // Little-endian, as every machine is that we run on.
    let (at, size, count) = match head[..6] {
        [0x7f, b'E', b'L', b'F', 2, 1] => (number(32, 8), number(54, 2), number(56, 2)),
        [0x7f, b'E', b'L', b'F', 1, 1] => (number(28, 4), number(42, 2), number(44, 2)),
        _ => return None,
    };
    if size < 4 || count > HEADERS_MAX {
        return None;
    }
    for header in 0..count {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, at.checked_add(header * size)?).ok()?;
        if u32::from_le_bytes(kind) == libc::PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_one_and_a_text_is_none() {
        assert_eq!(has_interpreter(Path::new("/proc/self/exe")), Some(true));
        assert!(!runs_without_loader(std::process::id() as i32));
        assert_eq!(has_interpreter(Path::new("/proc/version")), None);
    }

    #[test]
    fn a_file_without_one_is_linked_statically() {
        let path = std::env::temp_dir().join(format!("writegate-test-elf-{}", std::process::id()));
        let mut bytes = [0u8; 64 + 56];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, libc::PT_LOAD as u8);
        fs::write(&path, bytes).unwrap();
        assert_eq!(has_interpreter(&path), Some(false));
        bytes[64] = libc::PT_INTERP as u8;
        fs::write(&path, bytes).unwrap();
        assert_eq!(has_interpreter(&path), Some(true));
        fs::remove_file(path).unwrap();
    }
}
