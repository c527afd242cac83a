//! What became of a gate's freezes, one line each: `/var/lib/writegate/history/NAME`. Unlike the
//! counters of [`stats`](super::stats) it outlives a restart of the machine, for the question at 3
//! in the morning: when was the last good one?
//!
//! Written after the thaw, by the freezer that holds the gate's lock, in a child with a time limit:
//! the disk may be one that somebody has frozen and left so.

use super::dir;
use crate::linux::helper::DEFAULT_DIR;
use crate::linux::replace::{READABLE, replace};
use crate::linux::{bounded_child, clock};
use crate::outcome::record::VerdictLine;
use crate::outcome::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DIRECTORY: &str = "/var/lib/writegate/history";
/// So many lines are kept, and the last good one beside them if it is older.
const LINES: usize = 500;
const PATIENCE: Duration = Duration::from_secs(2);

/// One freeze.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended, seconds since 1970.
    pub at: u64,
    /// Its verdict line.
    pub line: String,
    /// Was it CONSISTENT?
    pub good: bool,
}

/// What is known of the past of a gate.
#[derive(Default)]
pub struct Past {
    /// The last freeze.
    pub last: Option<Entry>,
    /// The last one that was CONSISTENT.
    pub last_good: Option<Entry>,
}

/// Of a gate in a directory that somebody has named it lies there: nobody else's gates belong into
/// the machine's history.
fn path(gate_dir: &Path) -> PathBuf {
    match gate_dir.file_name() {
        Some(name) if dir::root() == Path::new(DEFAULT_DIR) => Path::new(DIRECTORY).join(name),
        _ => gate_dir.join("history"),
    }
}

/// What stands there.
pub fn read(gate_dir: &Path) -> Past {
    let entries = entries(&path(gate_dir)).unwrap_or_default();
    Past {
        last_good: entries.iter().rev().find(|entry| entry.good).cloned(),
        last: entries.into_iter().next_back(),
    }
}

/// Adds one freeze. Not worth a message if it cannot be written.
pub fn add(gate_dir: &Path, line: &VerdictLine) {
    let entry = Entry {
        at: clock::wall_ns() / 1_000_000_000,
        line: line.to_string(),
        good: line.verdict == Verdict::Consistent,
    };
    let path = path(gate_dir);
    bounded_child::run(PATIENCE, || write(&path, entry).is_ok());
}

fn write(path: &Path, entry: Entry) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // One that cannot be read is left as it is: it may hold the last good freeze.
    let mut entries = entries(path)?;
    entries.push(entry);
    let kept = trimmed(entries);
    let lines = kept.iter().filter_map(|entry| serde_json::to_string(entry).ok());
    let text: String = lines.map(|line| line + "\n").collect();
    replace(path, text.as_bytes(), READABLE)
}

/// All that stands in it; nothing, if there is no such file.
fn entries(path: &Path) -> std::io::Result<Vec<Entry>> {
    match fs::read(path) {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// A line that a crash has cut off is left out.
pub fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn trimmed(mut entries: Vec<Entry>) -> Vec<Entry> {
    let too_many = entries.len().saturating_sub(LINES);
    let dropped: Vec<Entry> = entries.drain(..too_many).collect();
    if !entries.iter().any(|entry| entry.good)
        && let Some(good) = dropped.into_iter().rev().find(|entry| entry.good)
    {
        entries.insert(0, good);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: u64, good: bool) -> Entry {
        Entry { at, line: String::new(), good }
    }

    #[test]
    fn the_last_good_one_is_kept_however_old_it_is() {
        let mut entries = vec![entry(1, true), entry(2, true)];
        for at in 3..3000 {
            entries = trimmed([entries, vec![entry(at, false)]].concat());
        }
        assert_eq!(entries.len(), LINES + 1);
        assert_eq!(entries[0], entry(2, true));
        entries = trimmed([entries, vec![entry(3000, true)]].concat());
        assert_eq!(entries.len(), LINES);
    }

    #[test]
    fn a_history_that_cannot_be_read_is_not_begun_anew() {
        let dir = std::env::temp_dir().join(format!("writegate-test-past-{}", std::process::id()));
        let file = dir.join("history");
        assert!(write(&file, entry(1, true)).is_ok());
        let text = fs::read(&file).unwrap();
        fs::write(&file, [b"\xff\n", &text[..]].concat()).unwrap();
        write(&file, entry(2, false)).unwrap();
        assert_eq!(entries(&file).unwrap(), [entry(1, true), entry(2, false)]);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(write(&file, entry(3, false)).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_line_that_is_cut_off_is_left_out() {
        let whole = serde_json::to_string(&entry(7, true)).unwrap();
        let read = parse(&format!("{whole}\n{}", &whole[..whole.len() / 2]));
        assert_eq!(read, [entry(7, true)]);
    }
}
