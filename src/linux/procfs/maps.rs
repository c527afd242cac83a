//! `/proc/PID/maps`. Reading it may hang.

use super::bounded::{self, Bounds, Extent};
use std::io;

/// What stands behind the path of a file that has no name any more.
pub const DELETED: &str = " (deleted)";

/// One line of `maps`.
pub struct Line<'a> {
    /// First address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// MAP_SHARED.
    pub shared: bool,
    /// `MAJOR:MINOR`.
    pub dev: &'a str,
    /// Inode; 0: no file.
    pub ino: u64,
    /// Its path, or a name in brackets, or nothing.
    pub path: &'a str,
}

impl Line<'_> {
    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Its path, also if the file has no name any more.
    pub fn path_once(&self) -> &str {
        self.path.strip_suffix(DELETED).unwrap_or(self.path)
    }
}

/// A process may have 65,530 mappings (vm.max_map_count), and no server has as many thousands: what
/// goes beyond this is not read.
const BOUNDS: Bounds = Bounds { bytes: 8 << 20, ns: 50_000_000 };

/// The text, as far as it is read.
pub fn read(pid: i32) -> io::Result<String> {
    let bytes = bounded::bytes(&format!("/proc/{pid}/maps"), BOUNDS.bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Its lines.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(line)
}

/// Hands over one line after the other. Paths need not be UTF-8.
pub fn each(pid: i32, mut take: impl FnMut(Line<'_>)) -> io::Result<Extent> {
    bounded::lines(&format!("/proc/{pid}/maps"), BOUNDS, |bytes| {
        if let Some(line) = line(&String::from_utf8_lossy(bytes)) {
            take(line);
        }
    })
}

fn line(line: &str) -> Option<Line<'_>> {
    let (range, fields) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let mut fields = fields.splitn(5, ' ');
    let protection = fields.next()?.as_bytes();
    let _offset = fields.next()?;
    let dev = fields.next()?;
    let ino = fields.next()?.parse().ok()?;
    Some(Line {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        writable: protection.get(1) == Some(&b'w'),
        executable: protection.get(2) == Some(&b'x'),
        shared: protection.get(3) == Some(&b's'),
        dev,
        ino,
        path: fields.next().unwrap_or("").trim_start(),
    })
}

/// Do both addresses lie in one mapping of the process?
pub fn one_mapping(pid: i32, low: u64, high: u64) -> bool {
    let mut one = false;
    let read = each(pid, |line| {
        one |= [low, high].iter().all(|at| (line.start..line.end).contains(at));
    });
    read.is_ok() && one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps() {
        let text = "7f1200000000-7f1200021000 rw-s 00000000 00:01 1043    /dev/zero (deleted)";
        let line = line(text).unwrap();
        assert_eq!(line.size(), 0x21000);
        assert!(line.shared && line.writable && !line.executable);
        assert_eq!((line.dev, line.ino, line.path), ("00:01", 1043, "/dev/zero (deleted)"));
        assert_eq!(line.path_once(), "/dev/zero");
    }

    #[test]
    fn what_lies_in_one_mapping() {
        let pid = std::process::id() as i32;
        let on_stack = 0u64;
        let at = &raw const on_stack as u64;
        assert!(one_mapping(pid, at, at + 1) && !one_mapping(pid, at, pid as u64));
    }
}
