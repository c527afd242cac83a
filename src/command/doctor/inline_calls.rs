//! System calls that a program's own text makes past libc, where the gate does not see
//! them. x86-64 only.

use crate::linux::program_file::{little_endian, segments};
use gate::calls::syscalls::changing;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Names of the file-changing system calls that a file's own text makes by `syscall`
/// instructions: those whose number is loaded into eax shortly before. A number
/// that comes from a register is not seen.
pub fn of_file(path: &Path) -> Vec<String> {
    let mut found: Vec<&str> = Vec::new();
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let Some((64, segments)) = segments(&mut file) else { return Vec::new() };
    for segment in segments.iter().filter(|s| s.kind == libc::PT_LOAD && s.flags & libc::PF_X != 0)
    {
        let mut text = Vec::new();
        let at = file.seek(SeekFrom::Start(segment.offset));
        if at.is_err() || (&file).take(segment.len).read_to_end(&mut text).is_err() {
            continue;
        }
        found.extend(in_text(&text));
    }
    found.sort();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

fn in_text(text: &[u8]) -> Vec<&'static str> {
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
                && are_whole_instructions(&before[i + 5..])
        });
        let call = loaded.map(|loaded| little_endian(before, loaded + 1, 4) as u32);
        found.extend(call.and_then(changing));
    }
    found
}

/// Are these bytes a run of whole instructions, of the kind that loads arguments?
fn are_whole_instructions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        match instruction_length(text) {
            Some(len) if len <= text.len() => text = &text[len..],
            _ => return false,
        }
    }
    true
}

/// Length of one instruction; None: not one that loads arguments.
fn instruction_length(text: &[u8]) -> Option<usize> {
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
    fn a_text_with_a_call() {
        let text = [0xb8, 0x52, 0, 0, 0, 0x48, 0x89, 0xe7, 0x0f, 0x05];
        assert_eq!(in_text(&text), ["rename"]);
        assert!(in_text(&[0xb8, 0x27, 0, 0, 0, 0x0f, 0x05]).is_empty(), "getpid changes nothing");
        assert!(in_text(&[0x0f, 0x05, 0xb8, 1, 0, 0, 0]).is_empty());
        // lea 0x50f(%rip),%rsi after mov $1,%eax: the bytes lie inside an instruction.
        assert!(in_text(&[0xb8, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x0f, 0x05, 0, 0]).is_empty());
    }
}
