//! A small mail store that several processes change under locks.
//!
//! One delivery is a set of changes to several files, all under one fcntl lock, as in a mail server:
//!
//! | file | holds |
//! |---|---|
//! | `BOX/msg.N` | a message of its own |
//! | `BOX/index` | count, last number, and the number of each message |
//! | `BOX/quota` | messages and bytes in use |

use crate::Result;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Boxes in a store.
pub const BOXES: usize = 4;
/// Bytes of a message.
pub const MESSAGE: usize = 4096;
/// Messages that a box keeps.
const KEEP: usize = 40;

/// What the index says: the last number that was given, and the numbers that are there.
pub struct Index {
    pub count: u32,
    pub last: u32,
    pub numbers: Vec<u32>,
}

/// Numbers as they lie in a file.
pub fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect()
}

fn bytes(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

impl Index {
    /// Of the file's bytes; None if there are too few.
    pub fn parse(file: &[u8]) -> Option<Index> {
        let mut all = numbers(file).into_iter();
        Some(Index { count: all.next()?, last: all.next()?, numbers: all.collect() })
    }
}

/// A message's text. Every byte follows from its number: a cut or foreign one shows.
pub fn message(number: u32) -> Vec<u8> {
    (0..MESSAGE).map(|at| b'a' + ((number as usize + at / 64) % 26) as u8).collect()
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Delivers one message into a box and removes the oldest from a full one: one set, under its lock.
pub fn deliver(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
    }
    // Its end ends the lock; it is declared first, and so dropped last.
    let held = open(&folder.join("lock"))?;
    lock(&held)?;

    let mut index = open(&folder.join("index"))?;
    let mut old = Vec::new();
    index.read_to_end(&mut old)?;
    let Index { last, mut numbers, .. } =
        Index::parse(&old).unwrap_or(Index { count: 0, last: 0, numbers: Vec::new() });

    let number = last + 1;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(folder.join(format!("msg.{number}")))?;
    file.write_all_at(&message(number), 0)?;
    drop(file);

    numbers.push(number);
    if numbers.len() > KEEP {
        fs::remove_file(folder.join(format!("msg.{}", numbers.remove(0))))?;
    }
    let count = numbers.len() as u32;
    index.write_all_at(&bytes(&numbers), 8)?;
    index.write_all_at(&bytes(&[count, number]), 0)?;
    index.set_len(8 + 4 * u64::from(count))?;

    let quota = open(&folder.join("quota"))?;
    quota.write_all_at(&bytes(&[count, count * MESSAGE as u32]), 0)?;
    Ok(())
}

fn lock(file: &File) -> nix::Result<()> {
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    loop {
        match nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLKW(&whole)) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}
