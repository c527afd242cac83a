//! Files with other names, changed where nothing is protected: is one of their names protected?
//!
//! Only the directories say that, so they are gone through, after the thaw and for so long.

use super::watch::{FileChange, Watch};
use crate::linux::clock;
use crate::linux::look::WhyNot;
use crate::outcome::cause::{Cause, Subject};
use crate::places::Places;
use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::PathBuf;

/// So long it is looked.
const LOOK_NS: u64 = 5_000_000_000;

/// Looks for them below the places of gate `at`, and puts what is found down as a change.
pub fn look_for(watch: &mut Watch, at: usize, places: &Places) {
    let until = clock::now_ns() + LOOK_NS;
    let wanted: HashSet<u64> = watch.linked.keys().map(|(_, ino)| *ino).collect();
    if wanted.is_empty() {
        return;
    }
    for place in &places.dirs {
        // By the descriptor: the name is the service's, and may mean nothing here.
        let top = PathBuf::from(format!("/proc/self/fd/{}", place.file.as_raw_fd()));
        let mut open = vec![PathBuf::new()];
        while let Some(dir) = open.pop() {
            if clock::now_ns() >= until {
                watch.blind.push(Cause::NotSeen(Subject::OtherNames, WhyNot::TooMuch));
                return;
            }
            let entries = match fs::read_dir(top.join(&dir)) {
                Ok(entries) => entries,
                // Removed meanwhile.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => {
                    watch.blind.push(not_seen(&e));
                    continue;
                }
            };
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(e) => {
                        watch.blind.push(not_seen(&e));
                        break;
                    }
                };
                let name = dir.join(entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(name);
                } else if wanted.contains(&entry.ino()) {
                    let id = match entry.metadata() {
                        Ok(meta) => (meta.dev(), meta.ino()),
                        // It stood here, and bears another name by now.
                        Err(e) if e.kind() == ErrorKind::NotFound => (place.id.0, entry.ino()),
                        Err(e) => {
                            watch.blind.push(not_seen(&e));
                            continue;
                        }
                    };
                    let Some(linked) = watch.linked_as(id).cloned() else { continue };
                    let path = place.path.join(name);
                    if !places.excludes(&path) && !places.excuses(linked.pid, &path) {
                        let program = linked.program;
                        watch.add(FileChange::of_file(linked.pid, program, path, at));
                    }
                }
            }
        }
    }
}

fn not_seen(error: &io::Error) -> Cause {
    Cause::NotSeen(Subject::OtherNames, WhyNot::of(error))
}
