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

    /// The same as a number, as `stat` has it on most file systems.
    pub fn dev_number(&self) -> Option<u64> {
        let (major, minor) = self.dev.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        Some(libc::makedev(number(major)?, number(minor)?))
    }

    /// Its path, also if the file has no name any more.
    pub fn path_once(&self) -> &str {
        self.path.strip_suffix(DELETED).unwrap_or(self.path)
    }
}

/// A process may have 65,530 mappings (vm.max_map_count), and no server has as many thousands: what
/// goes beyond this is not read.
pub(super) const BOUNDS: Bounds = Bounds { bytes: 8 << 20, ns: 50_000_000 };

/// The text, as far as it is read.
pub fn read(pid: i32) -> io::Result<String> {
    let bytes = bounded::bytes(format!("/proc/{pid}/maps"), BOUNDS.bytes)?;
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
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    if end < start {
        return None;
    }
    let mut fields = fields.splitn(5, ' ');
    let protection = fields.next()?.as_bytes();
    let _offset = fields.next()?;
    let dev = fields.next()?;
    let ino = fields.next()?.parse().ok()?;
    Some(Line {
        start,
        end,
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
    fn a_mapping_that_ends_before_it_begins_is_none() {
        assert!(line("7f1200021000-7f1200000000 rw-s 00000000 00:01 1043 /dev/zero").is_none());
    }

    #[test]
    fn what_lies_in_one_mapping() {
        let pid = std::process::id() as i32;
        let on_stack = 0u64;
        let at = &raw const on_stack as u64;
        assert!(one_mapping(pid, at, at + 1) && !one_mapping(pid, at, pid as u64));
    }

    #[test]
    fn so_much_of_maps_is_read_and_no_more() {
        use crate::linux::{bounded_child, mapping::Mapping};
        // A name of 3,000 bytes, 3,500 times: ten megabytes.
        let part = "n".repeat(250);
        let base = std::env::temp_dir().join(format!("writegate-test-maps-{}", std::process::id()));
        let mut name = base.clone();
        (0..12).for_each(|_| name.push(&part));
        std::fs::create_dir_all(name.parent().unwrap()).unwrap();
        std::fs::write(&name, [0; 4096]).unwrap();
        let read = || {
            let file = std::fs::File::options().read(true).write(true).open(&name).unwrap();
            // Neighbours that differ are not joined.
            let maps: Vec<Mapping> =
                (0..3500).map(|at| Mapping::new(&file, 4096, at % 2 == 0).unwrap()).collect();
            let mut bytes = 0;
            let read = each(std::process::id() as i32, |line| bytes += line.path.len());
            (maps.len(), read.unwrap() == Extent::CutOff, bytes)
        };
        // In a process of its own: other tests look at this one's mappings.
        let read = bounded_child::run(std::time::Duration::from_secs(20), read);
        std::fs::remove_dir_all(base).unwrap();
        let (count, cut_off, bytes) = read.unwrap();
        assert!(count == 3500 && cut_off && bytes < BOUNDS.bytes + 64 * 1024, "{bytes}");
    }
}
