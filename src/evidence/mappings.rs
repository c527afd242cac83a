//! Protected files that a process can change by a store alone: no barrier holds that.

use super::ancestry::is_kin;
use super::concern;
use super::coverage::Service;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::Mappings;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;
use crate::outcome::finding::{Cause, Finding, Subject};
use crate::places::Places;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How often a process is asked whose answer is cut off.
const LOOKS: usize = 3;

/// Asks every process: members of the gate for what they map and whether they use an io_uring
/// (a parent may have set it up), others for protected files that they map. Whoever was looked at just
/// now has answered.
pub fn look_for(
    census: &mut Census,
    helper: &mut Helper,
    service: &Service,
    (at, places, is_last): (usize, &Places, bool),
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut answered = census.take_mappings();
    let census = &*census;
    for (&pid, seen) in &census.seen {
        let gated = match seen.kind {
            ProcessKind::Member(gate, place) => gate == at && !census.gates[gate][place].gone,
            _ => false,
        };
        let asked = gated || seen.kind.is_ungated() && !places.dirs.is_empty();
        // Whoever could not be looked at at all is told of as that.
        if !asked || census.ours.contains(&pid) || census.unseen.contains_key(&pid) {
            continue;
        }
        match answered.remove(&pid).map_or_else(|| ask(helper, pid), Look::Seen) {
            Look::Seen(mappings) => judge(pid, gated, &mappings, places, census, &mut found),
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
    found
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
    found: &mut Vec<Finding>,
) {
    let program = || procfs::stat(pid).map(|stat| stat.comm);
    if gated && mappings.io_uring {
        found.push(Finding::of(Cause::IoUring, pid, program()));
    }
    for file in &mappings.files {
        let path = Path::new(OsStr::from_bytes(&file.path));
        // Without a list everything on storage is held; what lies in memory alone is not.
        if !places.hold_mapped_file(pid, file.dev, path) || !gated && is_kin(pid, census) {
            continue;
        }
        let cause = if gated { Cause::MapsShared } else { Cause::MappedForWriting };
        found.push(Finding::of(cause, pid, program()).at(ForeignText::of_path(path)));
    }
}
