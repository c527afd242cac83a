//! The library that a process has loaded: which layout it speaks.

use crate::linux::foreign::read_memory;
use crate::linux::procfs::maps::Line;
use gate::layout::{LAYOUT, noted_in};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;

/// The note lies among the first of a file.
const HEAD: usize = 16 * 1024;

/// What a library's note says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum LibraryLayout {
    /// This layout.
    Noted(u32),
    /// It has no note: it is of a version from before there were any.
    Unmarked,
    /// It could not be read.
    Unread,
}

impl LibraryLayout {
    /// Is it certainly not ours?
    pub fn is_other(self) -> bool {
        match self {
            LibraryLayout::Noted(layout) => layout != LAYOUT,
            LibraryLayout::Unmarked => true,
            LibraryLayout::Unread => false,
        }
    }

    /// As messages call it.
    pub fn name(self) -> String {
        match self {
            LibraryLayout::Noted(layout) => format!("layout {layout:08x}"),
            LibraryLayout::Unmarked => "an old layout without a name".into(),
            LibraryLayout::Unread => "an unknown layout".into(),
        }
    }
}

/// Does this line of `maps` show the library?
pub fn is_ours(line: &Line) -> bool {
    line.path_once().ends_with("/libwritegate.so")
}

/// Of the library that process `pid` maps from `start` to `end`, from the file's beginning
/// on. May hang like any look at a process's memory: for the helper, and the doctor's child.
pub fn layout_of(pid: i32, start: u64, end: u64, path: &str) -> LibraryLayout {
    let len = HEAD.min((end - start) as usize);
    let mut head = vec![0u8; len];
    let read = read_memory(pid, start, &mut head);
    // Where memory may not be read, its file may: also one that an upgrade has replaced.
    let places =
        [format!("/proc/{pid}/map_files/{start:x}-{end:x}"), format!("/proc/{pid}/root{path}")];
    if read.is_err() && !places.iter().any(|place| read_head(place, &mut head)) {
        return LibraryLayout::Unread;
    }
    noted_in(&head).map_or(LibraryLayout::Unmarked, LibraryLayout::Noted)
}

fn read_head(path: &str, head: &mut Vec<u8>) -> bool {
    head.clear();
    let Ok(file) = File::open(path) else { return false };
    file.take(HEAD as u64).read_to_end(head).is_ok_and(|len| len > 0)
}
