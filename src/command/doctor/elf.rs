//! What a program's file says: word size, whether the loader is asked at all, and
//! system calls that its own text makes past libc.

use gate::calls::syscalls::changing;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What matters of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Image {
    /// 32 or 64.
    pub bits: u8,
    /// It names no loader: LD_PRELOAD means nothing to it.
    pub is_static: bool,
    /// Set-user-ID or set-group-ID.
    pub set_id: bool,
}

struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    len: u64,
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let part = bytes.get(at..at + len).unwrap_or(&[]);
    part.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn segments(file: &mut File) -> Option<(u8, Vec<Segment>)> {
    let mut head = vec![0; 64];
    file.read_exact(&mut head).ok()?;
    if head.get(..4)? != b"\x7fELF" || *head.get(5)? != 1 {
        return None;
    }
    let wide = *head.get(4)? == 2;
    let (table, size, count) = if wide {
        (number(&head, 32, 8), number(&head, 54, 2), number(&head, 56, 2))
    } else {
        (number(&head, 28, 4), number(&head, 42, 2), number(&head, 44, 2))
    };
    let mut bytes = vec![0; (size * count) as usize];
    file.seek(SeekFrom::Start(table)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    let segments = bytes.chunks(size.max(1) as usize).map(|at| Segment {
        kind: number(at, 0, 4) as u32,
        flags: number(at, if wide { 4 } else { 24 }, 4) as u32,
        offset: if wide { number(at, 8, 8) } else { number(at, 4, 4) },
        len: if wide { number(at, 32, 8) } else { number(at, 16, 4) },
    });
    Some((if wide { 64 } else { 32 }, segments.collect()))
}

/// Looks at a program or library; None if it is no ELF file that we may read.
pub fn image(path: &Path) -> Option<Image> {
    use std::os::unix::fs::MetadataExt;
    const PT_INTERP: u32 = 3;
    let mut file = File::open(path).ok()?;
    let mode = file.metadata().ok()?.mode();
    let (bits, segments) = segments(&mut file)?;
    let is_static = !segments.iter().any(|s| s.kind == PT_INTERP);
    Some(Image { bits, is_static, set_id: mode & 0o6000 != 0 })
}

/// Names of the file-changing system calls that a file's own text makes by `syscall`
/// instructions: those whose number is loaded into eax shortly before. A number
/// that comes from a register is not seen.
pub fn inline_calls(path: &Path) -> Vec<String> {
    const PT_LOAD: u32 = 1;
    const EXECUTABLE: u32 = 1;
    let mut found: Vec<&str> = Vec::new();
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let Some((64, segments)) = segments(&mut file) else { return Vec::new() };
    for segment in segments.iter().filter(|s| s.kind == PT_LOAD && s.flags & EXECUTABLE != 0) {
        let mut text = Vec::new();
        let at = file.seek(SeekFrom::Start(segment.offset));
        if at.is_err() || (&file).take(segment.len).read_to_end(&mut text).is_err() {
            continue;
        }
        found.extend(inline_in(&text));
    }
    found.sort();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

fn inline_in(text: &[u8]) -> Vec<&'static str> {
    let mut found = Vec::new();
    for at in text.windows(2).enumerate().filter(|(_, w)| *w == [0x0f, 0x05]).map(|(at, _)| at) {
        let from = at.saturating_sub(48);
        let before = &text[from..at];
        // `mov $N,%eax` is b8 N. The two bytes may lie inside some longer instruction
        // as well: between the two, whole instructions must lead to the call.
        let loaded = (0..before.len().saturating_sub(4)).rev().find(|i| {
            before[*i] == 0xb8
                && before[i + 3] == 0
                && before[i + 4] == 0
                && leads(&before[i + 5..])
        });
        let call = loaded.map(|loaded| number(before, loaded + 1, 4) as u32);
        found.extend(call.and_then(changing));
    }
    found
}

/// Are these bytes a run of whole instructions, of the kind that loads arguments?
fn leads(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        match length(text) {
            Some(len) if len <= text.len() => text = &text[len..],
            _ => return false,
        }
    }
    true
}

/// Length of one instruction; None: not one that loads arguments.
fn length(text: &[u8]) -> Option<usize> {
    let rex = usize::from(matches!(text.first()?, 0x40..=0x4f));
    let wide = rex == 1 && text[0] & 8 != 0;
    let with_operand = |at: usize, immediate: usize| {
        let mode = *text.get(at)?;
        let (kind, register) = (mode >> 6, mode & 7);
        let extra = usize::from(kind != 3 && register == 4);
        let displacement = match kind {
            0 if register == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        Some(at + 1 + extra + displacement + immediate)
    };
    match text.get(rex)? {
        0x50..=0x5f | 0x90 => Some(rex + 1),
        0xb8..=0xbf => Some(rex + 1 + if wide { 8 } else { 4 }),
        0x01 | 0x09 | 0x21 | 0x29 | 0x31 | 0x33 | 0x63 | 0x85 | 0x89 | 0x8b | 0x8d => {
            with_operand(rex + 1, 0)
        }
        0x83 | 0xc1 => with_operand(rex + 1, 1),
        0x81 | 0xc7 => with_operand(rex + 1, 4),
        0x0f if matches!(text.get(rex + 1)?, 0xb6 | 0xb7 | 0xbe | 0xbf | 0x1f) => {
            with_operand(rex + 2, 0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_and_a_text_with_a_call() {
        let own = image(Path::new("/proc/self/exe")).unwrap();
        assert_eq!((own.bits, own.is_static, own.set_id), (64, false, false));
        let text = [0xb8, 0x52, 0, 0, 0, 0x48, 0x89, 0xe7, 0x0f, 0x05];
        assert_eq!(inline_in(&text), ["rename"]);
        assert!(inline_in(&[0xb8, 0x27, 0, 0, 0, 0x0f, 0x05]).is_empty(), "getpid changes nothing");
        assert!(inline_in(&[0x0f, 0x05, 0xb8, 1, 0, 0, 0]).is_empty());
        // lea 0x50f(%rip),%rsi after mov $1,%eax: the bytes lie inside an instruction.
        assert!(inline_in(&[0xb8, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x0f, 0x05, 0, 0]).is_empty());
    }
}
