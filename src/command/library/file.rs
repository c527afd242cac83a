//! Is this file a library that this machine and this command can work with?
//!
//! The loader says of a wrong one a line on stderr that nobody reads, and the service runs ungated.

use gate::layout::{LAYOUT, noted_in};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What is read of a file at most: the library is a twentieth of it.
const MOST: u64 = 16 << 20;

/// What is wrong with it, to follow its path in a sentence.
pub fn defect(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("is a directory: name the file".into());
    }
    let mut bytes = Vec::new();
    if let Err(e) = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)) {
        return Some(format!("cannot be read: {e}"));
    }
    let Some(head) = Head::of(&bytes) else {
        return Some("is no shared library".into());
    };
    if (head.bits, head.machine) != (usize::BITS, MACHINE) {
        return Some(format!(
            "is a library for another machine ({} bits, {}); this one needs {} bits, {}",
            head.bits,
            name_of(head.machine),
            usize::BITS,
            name_of(MACHINE)
        ));
    }
    if (bytes.len() as u64) < head.end {
        return Some(format!(
            "is cut off: {} of {} bytes are there. Install it anew",
            bytes.len(),
            head.end
        ));
    }
    match noted_in(&bytes) {
        Some(LAYOUT) => None,
        other => {
            let theirs = other.map_or("none".into(), |layout| format!("{layout:08x}"));
            Some(format!(
                "is of another version than this command (layout {theirs}, here {LAYOUT:08x}): \
                 install both from one package"
            ))
        }
    }
}

/// What an ELF file says of itself (elf.h).
struct Head {
    bits: u32,
    machine: u16,
    /// Where its section headers end: the linker writes them last.
    end: u64,
}

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const MACHINE: u16 = if cfg!(target_arch = "aarch64") { EM_AARCH64 } else { EM_X86_64 };

fn name_of(machine: u16) -> String {
    match machine {
        3 => "i386".into(),
        40 => "arm".into(),
        EM_X86_64 => "x86_64".into(),
        EM_AARCH64 => "aarch64".into(),
        243 => "riscv".into(),
        other => format!("machine number {other}"),
    }
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Head> {
        let number = |at: usize, len: usize| {
            let field = bytes.get(at..at + len)?;
            Some(field.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
        };
        const ET_DYN: u64 = 3;
        if !bytes.starts_with(b"\x7fELF") || number(16, 2)? != ET_DYN {
            return None;
        }
        let wide = *bytes.get(4)? == 2;
        let (sections, size, count) =
            if wide { (number(40, 8)?, 58, 60) } else { (number(32, 4)?, 46, 48) };
        Some(Head {
            bits: if wide { 64 } else { 32 },
            machine: number(18, 2)? as u16,
            end: sections.saturating_add(number(size, 2)? * number(count, 2)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a library of this machine with nothing in it.
    fn head() -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..5].copy_from_slice(b"\x7fELF\x02");
        head[16] = 3;
        head[18..20].copy_from_slice(&MACHINE.to_le_bytes());
        head
    }

    fn said_of(name: &str, bytes: &[u8]) -> String {
        let path =
            std::env::temp_dir().join(format!("writegate-file-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let said = defect(&path).unwrap_or_default();
        std::fs::remove_file(&path).unwrap();
        said
    }

    #[test]
    fn wrong_files_are_told_apart() {
        assert!(said_of("text", b"#!/bin/sh\n").contains("no shared library"));
        assert!(said_of("empty", b"").contains("no shared library"));
        let mut other = head();
        other[18] = 40;
        assert!(said_of("machine", &other).contains("64 bits, arm"));
        let mut narrow = head();
        narrow[4] = 1;
        narrow[18] = 3;
        assert!(said_of("narrow", &narrow).contains("32 bits, i386"));
        let mut cut = head();
        cut[41] = 9;
        assert!(said_of("cut", &cut).contains("64 of 2304 bytes"));
        assert!(said_of("foreign", &head()).contains("another version"));
        let numbers = [10u32, 4, 1].map(u32::to_ne_bytes).concat();
        let note = [&numbers[..], b"writegate\0\0\0", &LAYOUT.to_ne_bytes()].concat();
        assert_eq!(said_of("ours", &[head(), note].concat()), "");
        assert!(defect(Path::new("/")).unwrap().contains("is a directory"));
    }
}
