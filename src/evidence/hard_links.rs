//! Files with other names, changed where nothing is protected: is one of their names protected?
//!
//! Only the directories say that, so they are gone through, after the thaw and for so long.

use super::watch::{FileChange, Watch};
use crate::linux::clock;
use crate::linux::look::WhyNot;
use crate::outcome::finding::{Cause, Subject};
use crate::places::Places;
use std::collections::HashSet;
use std::fs;
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
            let Ok(entries) = fs::read_dir(top.join(&dir)) else { continue };
            for entry in entries.flatten() {
                let name = dir.join(entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(name);
                } else if wanted.contains(&entry.ino())
                    && let Ok(meta) = entry.metadata()
                    && let Some(linked) = watch.linked.get(&(meta.dev(), meta.ino())).cloned()
                {
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
