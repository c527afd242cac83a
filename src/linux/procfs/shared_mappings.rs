//! The shared mappings of a process, or those that it may execute, by the question that Linux 6.11 and newer
//! answer (PROCMAP_QUERY): of them alone, where the text of `maps` tells of all. It may hang as that does.
#![allow(unsafe_code)]

use super::bounded::Extent;
use super::maps::{BOUNDS, Line};
use crate::linux::look_time::LookTime;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `struct procmap_query` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::Ioctl =
    (3 << 30 | (size_of::<Query>() as u64) << 16 | (b'f' as u64) << 8 | 17) as libc::Ioctl;
const _: () = assert!(size_of::<Query>() == 104);

const WRITABLE: u64 = 2;
const EXECUTABLE: u64 = 4;
const SHARED: u64 = 8;
const COVERING_OR_NEXT: u64 = 16;
const FILE_BACKED: u64 = 32;

/// No path that the kernel tells is longer.
const NAME_MAX: usize = libc::PATH_MAX as usize;

/// Of which mappings it is told; of files only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Those that are shared.
    Shared,
    /// Those that may be executed.
    Executable,
}

/// Hands over one after the other. An error: the process may not be asked, or this kernel does not know
/// the question.
pub fn each(pid: i32, which: Which, mut take: impl FnMut(Line<'_>)) -> io::Result<Extent> {
    let asked = match which {
        Which::Shared => SHARED,
        Which::Executable => EXECUTABLE,
    };
    let time = LookTime::of(BOUNDS.ns);
    let file = File::open(format!("/proc/{pid}/maps"))?;
    let mut name = [0u8; NAME_MAX];
    let mut from = 0;
    loop {
        let mut query = Query {
            size: size_of::<Query>() as u64,
            query_flags: asked | FILE_BACKED | COVERING_OR_NEXT,
            query_addr: from,
            vma_name_size: name.len() as u32,
            vma_name_addr: name.as_mut_ptr() as u64,
            ..Query::default()
        };
        // SAFETY: `query` is one procmap_query for the kernel to fill, and says its size; it names
        // `name`, which is writable for the length that is given, and no other memory.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
        if done != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // No more.
                Some(libc::ENOENT) => Ok(Extent::Whole),
                _ => Err(error),
            };
        }
        let named = name.get(..query.vma_name_size as usize).unwrap_or(&name);
        let named = named.split(|byte| *byte == 0).next().unwrap_or(&[]);
        take(Line {
            start: query.vma_start,
            end: query.vma_end,
            writable: query.vma_flags & WRITABLE != 0,
            executable: query.vma_flags & EXECUTABLE != 0,
            shared: query.vma_flags & SHARED != 0,
            dev: &format!("{:02x}:{:02x}", query.dev_major, query.dev_minor),
            ino: query.inode,
            path: &String::from_utf8_lossy(named),
        });
        if query.vma_end <= from || time.is_over() {
            return Ok(Extent::CutOff);
        }
        from = query.vma_end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::mapping::Mapping;
    use crate::linux::procfs::maps;

    #[test]
    fn it_tells_what_the_text_tells() {
        let path =
            std::env::temp_dir().join(format!("writegate-test-shared-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.unwrap();
        file.set_len(4096).unwrap();
        let (writing, reading) =
            (Mapping::new(&file, 4096, true).unwrap(), Mapping::new(&file, 4096, false).unwrap());
        std::fs::remove_file(&path).unwrap();
        let ours = |line: &Line<'_>| {
            [writing.address(), reading.address()].contains(&line.start).then(|| {
                let Line { start, writable, executable, shared, ino, .. } = *line;
                (start, writable, executable, shared, ino, line.dev.into(), line.path.into())
            })
        };
        type Told = (u64, bool, bool, bool, u64, String, String);
        let (mut by_text, mut by_question): (Vec<Told>, Vec<Told>) = Default::default();
        let pid = std::process::id() as i32;
        maps::lines(&maps::read(pid).unwrap()).for_each(|line| by_text.extend(ours(&line)));
        loop {
            by_question.clear();
            match each(pid, Which::Shared, |line| by_question.extend(ours(&line))) {
                Ok(Extent::Whole) => break assert_eq!(by_question, by_text),
                // On a busy machine.
                Ok(Extent::CutOff) => {}
                // An older kernel.
                Err(e) => break assert_eq!(e.raw_os_error(), Some(libc::ENOTTY)),
            }
        }
        assert!(by_text.len() == 2 && by_text.iter().all(|told| told.6.ends_with(" (deleted)")));
    }
}
