//! One number for all that two sides of a gate must agree on.
//!
//! Call numbers stand in every thread word, so the table of calls is layout like any
//! offset; flags and kinds are meanings. Whatever of it changes, [`LAYOUT`] changes by
//! itself: a process and a command of different layouts never take each other's words for
//! something that they do not say.

use crate::abi::{Digest, Shared};
use crate::calls;
use crate::control::{self, AdmissionSlot, ControlPage};
use crate::locks::{self, FileName, LockEntry, LockKind};
use crate::places::{self, Published};
use crate::region::{self, Header, Slot};
use crate::word::{self, CALL_BITS, Doing};

/// Raised by hand when something changes that no name, number or place shows: what a word
/// means, or in which order it is written. Also what messages call it.
pub const FORMAT: u32 = 3;

/// For the tests that need two layouts (`tests/library/layout`): anything, set while building.
const TEST: &str = match option_env!("WRITEGATE_TEST_LAYOUT") {
    Some(text) => text,
    None => "",
};

/// The layout of the control page, the regions and every word in them.
pub const LAYOUT: u32 = fold(
    Digest::new()
        .number(FORMAT as u64)
        .text(TEST)
        .text(calls::ROWS)
        .number(word::SHAPE)
        .number(Doing::SHAPE)
        .number(locks::SHAPE)
        .number(LockKind::SHAPE)
        .number(LockEntry::SHAPE)
        .number(locks::FILE_NAME_SHAPE)
        .number(FileName::SHAPE)
        .number(control::SHAPE)
        .number(AdmissionSlot::SHAPE)
        .number(ControlPage::SHAPE)
        .number(places::SHAPE)
        .number(Published::SHAPE)
        .number(region::SHAPE)
        .number(Header::SHAPE)
        .number(Slot::SHAPE),
);

const _: () = assert!(calls::COUNT <= 1 << CALL_BITS, "a call's number must fit into a word");

/// The highest bit is always set: 1 and 2, as versions were before, are never one.
const fn fold(digest: Digest) -> u32 {
    let value = digest.value();
    (value >> 32) as u32 ^ value as u32 | 1 << 31
}

/// The library says its layout in an ELF note, so that it can be told of a process that
/// does not understand the gate's page and shows no region.
#[repr(C)]
pub struct Note {
    name_len: u32,
    value_len: u32,
    kind: u32,
    name: [u8; 12],
    layout: u32,
}

/// The note of this build.
pub const NOTE: Note =
    Note { name_len: 10, value_len: 4, kind: 1, name: *b"writegate\0\0\0", layout: LAYOUT };

/// The layout that a library says in its note, by the beginning of its file; none: a
/// library from before there was one, or none of ours.
pub fn noted_in(bytes: &[u8]) -> Option<u32> {
    let numbers = [NOTE.name_len, NOTE.value_len, NOTE.kind].map(u32::to_ne_bytes);
    let begins = |at: &[u8]| {
        let (head, name) = at.split_at(numbers.as_flattened().len());
        head == numbers.as_flattened() && *name == NOTE.name
    };
    let size = core::mem::offset_of!(Note, layout);
    let found = bytes.windows(size + 4).find(|at| begins(&at[..size]))?;
    found[size..].try_into().map(u32::from_ne_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    const fn of_table(rows: &str) -> u32 {
        fold(Digest::new().text(rows))
    }

    const BEFORE: u32 = of_table("write:call(Fd(0))\nexecve:call(Exec)\n");

    #[test]
    fn a_row_in_the_middle_of_the_table_another_order_or_rule_is_another_layout() {
        for rows in [
            "write:call(Fd(0))\npwrite:call(Fd(0))\nexecve:call(Exec)\n",
            "execve:call(Exec)\nwrite:call(Fd(0))\n",
            "write:call(Fd(1))\nexecve:call(Exec)\n",
        ] {
            assert_ne!(of_table(rows), BEFORE, "{rows}");
        }
        let blanks = "write: call (Fd(0))\nexecve: call (Exec)\n";
        assert_eq!(of_table(blanks), BEFORE, "how a compiler sets blanks is none");
    }

    #[test]
    fn the_rows_are_the_table() {
        let names = calls::ROWS.lines().map(|row| row.split(':').next().unwrap());
        let table = calls::TABLE.iter().skip(1).map(|info| info.name);
        assert!(names.eq(table));
        assert!(calls::ROWS.contains("execve:call(Exec)\n"), "with their rules");
    }

    #[test]
    fn former_versions_are_no_layouts() {
        assert!(LAYOUT > u16::MAX as u32);
    }

    #[test]
    fn the_note_is_found_wherever_it_lies_and_only_whole() {
        let numbers = [NOTE.name_len, NOTE.value_len, NOTE.kind].map(u32::to_ne_bytes);
        let mut note: Vec<u8> = numbers.concat();
        note.extend(NOTE.name);
        note.extend(0x8123_4567u32.to_ne_bytes());
        let text = format!("writegate\0{}", "x".repeat(5));
        let file = [text.as_bytes(), &note, b"tail"].concat();
        assert_eq!(noted_in(&file), Some(0x8123_4567));
        assert_eq!(noted_in(&file[..text.len() + note.len() - 1]), None);
        assert_eq!(noted_in(text.as_bytes()), None);
    }
}
