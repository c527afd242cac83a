//! Reads a file of `/proc` whose length and cost another process decides: so much, and so long,
//! and no further.

use crate::linux::look_time::LookTime;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How much of one file is read at most, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes.
    pub bytes: usize,
    /// Time, ns.
    pub ns: u64,
}

/// What the kernel makes of such a file at once.
const PAGE: usize = 4096;
/// The kernel hands out a page at a time, or a little more.
const PART: usize = 16 * 1024;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All of it was read.
    Whole,
    /// There is more than the bounds allow.
    CutOff,
}

/// Hands over one line after the other, without its newline.
pub fn lines(path: &str, bounds: Bounds, mut line: impl FnMut(&[u8])) -> io::Result<Extent> {
    let time = LookTime::of(bounds.ns);
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    let (mut read, mut part) = (0, [0; PART]);
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(got) => {
                read += got;
                bytes.extend_from_slice(&part[..got]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        let mut begin = 0;
        while let Some(end) = bytes[begin..].iter().position(|byte| *byte == b'\n') {
            line(&bytes[begin..begin + end]);
            begin += end + 1;
        }
        bytes.drain(..begin);
        if read >= bounds.bytes || time.is_over() {
            return Ok(Extent::CutOff);
        }
    }
    if !bytes.is_empty() {
        line(&bytes);
    }
    Ok(Extent::Whole)
}

/// The first page of it, in one read: enough for a file of a few lines, and asked of every
/// process behind a closed barrier.
pub fn page(path: &str) -> io::Result<String> {
    let mut bytes = [0; PAGE];
    let got = loop {
        match File::open(path)?.read(&mut bytes) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            got => break got?,
        }
    };
    Ok(String::from_utf8_lossy(&bytes[..got]).into_owned())
}

/// The first bytes of it.
pub fn bytes(path: impl AsRef<Path>, most: usize) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?.take(most as u64))
}

/// All of it, in as few pieces as the kernel allows. (`fs::read` begins with 32 bytes at a time. Between
/// two pieces of a list one of its lines may go, and another is then skipped; and each piece costs a
/// call.)
pub fn whole(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_all(File::open(path)?)
}

fn read_all(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; PAGE];
    let mut read = 0;
    loop {
        match file.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(got) => read += got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        // Most files end with the first page, and then this is room enough to be told so.
        if bytes.len() - read < PAGE / 2 {
            bytes.resize(2 * bytes.len(), 0);
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_the_bounds_allow() {
        let path =
            std::env::temp_dir().join(format!("writegate-test-bounds-{}", std::process::id()));
        std::fs::write(&path, "line\n".repeat(100_000) + "end").unwrap();
        let name = path.to_str().unwrap();
        let count = |bytes, ns| {
            let mut count = 0;
            let read = lines(name, Bounds { bytes, ns }, |line| {
                assert!(line == b"line" || line == b"end");
                count += 1;
            });
            (read.unwrap(), count)
        };
        assert_eq!(count(usize::MAX, u64::MAX), (Extent::Whole, 100_001));
        let (read, some) = count(PART, u64::MAX);
        assert!(read == Extent::CutOff && some < 5_000);
        assert_eq!(count(usize::MAX, 0).0, Extent::CutOff);
        assert_eq!(bytes(name, 7).unwrap(), b"line\nli");
        assert_eq!(whole(name).unwrap(), std::fs::read(name).unwrap());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_first_piece_is_as_long_as_the_kernel_makes_one() {
        struct Kernel(Vec<usize>);
        impl Read for Kernel {
            fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
                self.0.push(room.len());
                Ok(if self.0.len() < 4 { room.len().min(PAGE - 100) } else { 0 })
            }
        }
        let mut kernel = Kernel(Vec::new());
        assert_eq!(read_all(&mut kernel).unwrap().len(), 3 * (PAGE - 100));
        assert!(kernel.0[0] >= PAGE && kernel.0.iter().all(|room| *room >= PAGE / 2));
    }
}
