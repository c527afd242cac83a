//! Processes that are not gated and hold a protected file open for writing.

use super::ancestry::is_kin;
use super::concern;
use super::coverage::Service;
use super::places::Places;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::linux::look::{Look, WhyNot};
use crate::linux::process;
use crate::linux::procfs::{self, locks};
use crate::outcome::finding::{Cause, Finding, Subject};
use std::fs;

/// Finds them; each process and file once.
pub fn ungated_writers(census: &Census, service: &Service, places: &Places) -> Vec<Finding> {
    if places.dirs.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    for (&pid, seen) in &census.seen {
        // Also one of another gate: this one does not hold it.
        if !matches!(seen.kind, ProcessKind::Other | ProcessKind::Undecided) {
            continue;
        }
        let by = procfs::stat(pid).map_or(pid, |stat| stat.by);
        let unseen = |why: WhyNot| {
            (process::is_there(pid) && concern::is_concerned(census, service, pid, why)).then(
                || {
                    let program = procfs::stat(pid).map(|s| s.comm);
                    Finding::of(Cause::NotSeen(Subject::Descriptors, why), pid, program)
                },
            )
        };
        let fds = match fs::read_dir(format!("/proc/{by}/fd")) {
            Ok(fds) => fds,
            Err(e) => {
                found.extend(unseen(WhyNot::of(&e)));
                continue;
            }
        };
        for fd in fds {
            let path = fd.as_ref().map_err(WhyNot::of).and_then(|fd| {
                let path = fs::read_link(fd.path()).map_err(|e| WhyNot::of(&e))?;
                Ok((fd.file_name(), path))
            });
            let (fd, path) = match path {
                Ok(read) => read,
                // Closed meanwhile.
                Err(WhyNot::Errno(libc::ENOENT)) => continue,
                Err(why) => {
                    found.extend(unseen(why));
                    break;
                }
            };
            if !places.holds(&path) {
                continue;
            }
            match locks::open_for_writing(by, &fd) {
                Look::Seen(true) => {}
                Look::Seen(false) | Look::Gone(_) => continue,
                Look::NotSeen(why) => {
                    found.extend(unseen(why));
                    continue;
                }
            }
            let path = path.to_string_lossy().into_owned();
            let known = |f: &Finding| f.pid == Some(pid) && f.path.as_ref() == Some(&path);
            // One that exits has lost its memory, so nothing says any more that it was gated,
            // and still has its files; it makes no call again.
            if found.iter().any(known) || is_kin(pid, census) || procfs::is_exiting(pid) {
                continue;
            }
            let program = procfs::stat(pid).map(|s| s.comm);
            found.push(Finding::of(Cause::OpenForWriting, pid, program).at(path));
        }
    }
    found
}
