//! Protected files that a process can change by a store alone: no barrier holds that.

use super::ancestry::is_kin;
use super::concern;
use super::coverage::Service;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::{MappedFile, Mappings};
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use crate::places::Places;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// How often a process is asked whose answer is cut off.
const LOOKS: usize = 3;

/// What the looks came to.
#[derive(Default)]
pub struct Looked {
    /// What was found.
    pub found: Vec<Finding>,
    /// Of these processes every mapping was seen, and whether it is of a protected file.
    pub seen: BTreeSet<i32>,
}

/// Asks every process: members of the gate for what they map and whether they use an io_uring
/// (a parent may have set it up), others for protected files that they map. Whoever was looked at just
/// now has answered.
pub fn look_for(
    census: &mut Census,
    helper: &mut Helper,
    service: &Service,
    (at, places, is_last): (usize, &Places, bool),
) -> Looked {
    let Looked { mut found, mut seen } = Looked::default();
    let mut answered = census.take_mappings();
    let census = &*census;
    for (&pid, process) in &census.seen {
        let gated = match process.kind {
            ProcessKind::Member(gate, place) => gate == at && !census.gates[gate][place].gone,
            _ => false,
        };
        let asked = gated || process.kind.is_ungated() && !places.dirs.is_empty();
        // Whoever could not be looked at at all is told of as that.
        if !asked || census.ours.contains(&pid) || census.unseen.contains_key(&pid) {
            continue;
        }
        // What a member has mapped since it was looked at is told by itself, from the first look on
        // (`mapped_since`): it is asked here.
        let answer = answered.remove(&pid).filter(|_| !gated);
        match answer.map_or_else(|| ask(helper, pid), Look::Seen) {
            Look::Seen(mappings) => {
                found.extend(judge(pid, gated, &mappings, places, census, helper));
                // Without a list everything on storage is held, and no file can be told to be outside.
                if !places.dirs.is_empty() {
                    seen.insert(pid);
                }
            }
            Look::Gone(_) => {}
            // Of a busy machine, or of who wants it so: asked again after the thaw.
            Look::NotSeen(WhyNot::TooMuch) if !is_last => {}
            Look::NotSeen(_) if procfs::is_exiting(pid) || is_kin(pid, census) => {}
            // It is gone, and its number is another's already.
            Look::NotSeen(_) if !census.is_still(pid) => {}
            Look::NotSeen(why) => {
                found.extend(concern::not_seen(census, service, pid, Subject::Process, why));
            }
        }
    }
    Looked { found, seen }
}

/// On a busy machine a look may be cut off by the time that it takes: asked again.
fn ask(helper: &mut Helper, pid: i32) -> Look<Mappings> {
    let mut look = helper.mappings(pid);
    for _ in 1..LOOKS {
        if look != Look::NotSeen(WhyNot::TooMuch) {
            break;
        }
        look = helper.mappings(pid);
    }
    look
}

fn judge(
    pid: i32,
    gated: bool,
    mappings: &Mappings,
    places: &Places,
    census: &Census,
    helper: &mut Helper,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let program = || procfs::stat(pid).map(|stat| stat.comm);
    if gated && mappings.io_uring {
        found.push(Finding::of(Cause::IoUring, pid, program()));
    }
    if gated && mappings.second_libc {
        found.push(Finding::of(Cause::SecondLibc, pid, program()));
    }
    for file in &mappings.files {
        let held = match gated {
            true => may_be_protected(pid, file, places, helper),
            false => {
                places.hold_mapped_file(pid, (file.dev, file.ino), &path_of(file))
                    && !is_kin(pid, census)
            }
        };
        if held {
            let cause = if gated { Cause::MapsShared } else { Cause::MappedForWriting };
            let path = ForeignText::of_path(&path_of(file));
            found.push(Finding::of(cause, pid, program()).at(path));
        }
    }
    found
}

/// Is this file, which a member has mapped, below a protected directory, or is it not known where it
/// lies?
fn may_be_protected(pid: i32, file: &MappedFile, places: &Places, helper: &mut Helper) -> bool {
    let path = path_of(file);
    if places.hold_mapped_file(pid, (file.dev, file.ino), &path) {
        return true;
    }
    if !places.may_hold_file(file.dev, &path) {
        return false;
    }
    match file.names {
        Some(0) => return false,
        Some(1) => {}
        // Another name may be below one.
        _ => return true,
    }
    // The kernel shows paths of another mount namespace from its top, and paths of ours from our root.
    let us = std::process::id() as i32;
    let id = (file.dev, file.ino);
    match [pid, us].into_iter().find(|at| helper.is_at(*at, &file.path, id) == Some(true)) {
        Some(at) => places.hold_mapped_file(at, id, &path),
        None => true,
    }
}

fn path_of(file: &MappedFile) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&file.path))
}
