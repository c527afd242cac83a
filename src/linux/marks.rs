//! The marks on a control page's file (`gate::mark`): in which PID namespaces its mappings were made.

use crate::linux::look::WhyNot;
use gate::mark;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fmt;
use std::fs::File;
use std::io;

/// A page's file, and where it was made.
#[derive(Debug)]
pub struct Marks {
    file: File,
    /// The PID namespace in which the page was made.
    pub made_in: u64,
}

impl Marks {
    /// Of this file.
    pub fn of(file: File, made_in: u64) -> Marks {
        Marks { file, made_in }
    }

    /// The namespaces that are marked now.
    pub fn namespaces(&self) -> Result<Vec<u64>, WhyNot> {
        let mut found = Vec::new();
        let mut open = vec![(mark::BEGIN, mark::BEGIN + mark::PLACES)];
        while let Some((from, to)) = open.pop() {
            if from >= to {
                continue;
            }
            // Any lock there is told, not the first one.
            if let Some(at) = self.lock_between(from, to)? {
                let at = at.clamp(from, to - 1);
                found.push(at - mark::BEGIN);
                open.extend([(from, at), (at + 1, to)]);
            }
        }
        Ok(found)
    }

    /// Where a lock begins that would be in the way of one for writing.
    fn lock_between(&self, from: u64, to: u64) -> Result<Option<u64>, WhyNot> {
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: from as libc::off_t,
            l_len: (to - from) as libc::off_t,
            l_pid: 0,
        };
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock)) {
                Ok(_) if lock.l_type == libc::F_UNLCK as libc::c_short => return Ok(None),
                Ok(_) => return Ok(Some(lock.l_start as u64)),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(WhyNot::of(&io::Error::from(e))),
            }
        }
    }
}

/// Who may map a page and cannot be seen from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    /// This.
    Known(mark::Hidden),
    /// That cannot be told.
    NotTold(WhyNot),
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, why) = match self {
            Hidden::Known(mark::Hidden::OfTheHost) => {
                ("of the host (the machine's first PID namespace)".into(), String::new())
            }
            Hidden::Known(mark::Hidden::Of(mark::UNKNOWN)) => {
                ("of a PID namespace that cannot be told".into(), String::new())
            }
            Hidden::Known(mark::Hidden::Of(number)) => (
                format!("of another PID namespace (pid:[{number}]: another container)"),
                String::new(),
            ),
            Hidden::NotTold(why) => ("of other PID namespaces".into(), format!(" ({why})")),
        };
        write!(
            f,
            "processes {who} may map this gate's page, and cannot be seen from here{why}: freeze on \
             the host, or from a container that sees all of them (`--pid=host`, \
             shareProcessNamespace), or give each container a gate of its own"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::file::lock_byte_for_reading;

    #[test]
    fn every_mark_is_found_and_nothing_else() {
        let path =
            std::env::temp_dir().join(format!("writegate-test-marks-{}", std::process::id()));
        std::fs::write(&path, "page").unwrap();
        let marks = Marks::of(File::open(&path).unwrap(), 7);
        assert_eq!(marks.namespaces(), Ok(vec![]));
        let numbers = [mark::UNKNOWN, 5, 6, mark::FIRST, u32::MAX as u64];
        let holders: Vec<File> =
            numbers.iter().chain([&5]).map(|_| File::open(&path).unwrap()).collect();
        for (file, number) in holders.iter().zip(numbers.iter().chain([&5])) {
            lock_byte_for_reading(file, mark::place(*number)).unwrap();
        }
        // Not among the marks.
        let other = File::open(&path).unwrap();
        lock_byte_for_reading(&other, 0).unwrap();
        let mut found = marks.namespaces().unwrap();
        found.sort();
        assert_eq!(found, numbers);
        drop(holders);
        assert_eq!(marks.namespaces(), Ok(vec![]));
        std::fs::remove_file(&path).unwrap();
    }
}
