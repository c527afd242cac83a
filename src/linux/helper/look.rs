//! What one process is: which control page and which region it maps, or is about to.

use super::mappings::{C_LIBRARIES, Stores};
use super::pages::Pages;
use super::programs::Programs;
use super::protocol::{Asked, Before, Looked, PageId, RegionFound};
use super::region::{Candidate, Copied, open_region};
use crate::linux::clock;
use crate::linux::library::{self, LibraryLayout};
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::namesake::{MappedPage, leads_to_another};
use crate::linux::process::{is_there, share_memory};
use crate::linux::procfs::bounded::Extent;
use crate::linux::procfs::maps::Line;
use crate::linux::procfs::{self, Stat, environ, locks, maps};
use crate::linux::program_file::never_loads_ours;
use gate::region::SIZE;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// How long, and how often, a process that holds a lock is looked at in the middle of an exec.
const IN_EXEC_NS: u64 = 400_000_000;
const IN_EXEC_PAUSE_NS: u64 = 1_000_000;
/// A process has one region; it may have inherited another, and have made some mapping of the
/// same size. One with more than so many is not looked through.
const CANDIDATES: usize = 16;
/// A forked process that finds no memory for a region takes this much off the one that it has
/// inherited (preload/src/this_process/region.rs, `adopt`).
const PAGE: usize = 4096;
/// So many bytes of the paths of files that it has mapped to write are told with the rest; of who has more
/// it is asked.
const STORES_MAX: usize = 1024;
/// A program that stands in its memory maps something: who shows nothing was not seen.
const NOTHING_MAPPED: WhyNot = WhyNot::Malformed;
/// Where gates live if the environment does not say.
pub const DEFAULT_DIR: &str = "/run/writegate";

/// A look at one image of a process.
///
/// In the middle of an exec there is a moment in which neither the old image is there any
/// more nor anything of the new one: no mappings, no environment. On a busy machine it
/// lasts (160 ms were seen), and a look at it tells nothing. If the process holds a write
/// lock, its set may be half-done, and it is looked at again.
pub fn look(asked: Asked, pages: &Pages, copied: &mut Vec<Copied>) -> (Looked, Option<OwnedFd>) {
    let Asked { pid, before: mut told } = asked;
    let stat = || procfs::stat(pid).filter(|stat| !stat.is_dead());
    let as_told = |stat: &Stat| Before { image: stat.image, in_place: stat.in_place };
    let until = clock::now_ns() + IN_EXEC_NS;
    while clock::now_ns() < until {
        let was_told = told.is_some();
        let (by, before) = match told.take() {
            Some(told) => (pid, Some(told)),
            None => {
                let now = stat();
                (now.as_ref().map_or(pid, |stat| stat.by), now.as_ref().map(as_told))
            }
        };
        let (looked, fd) = look_once(pid, by, pages, copied);
        // Its first thread may have ended since, and its memory with it.
        let lost = matches!(looked.unseen, Some(WhyNot::Errno(libc::ESRCH | libc::ENOENT)));
        if was_told && lost {
            continue;
        }
        // Where that may not be seen, its mappings may not either.
        let failed = looked.unseen.is_some_and(|why| why != NOTHING_MAPPED);
        if looked.page.is_some() || failed {
            return (looked, fd);
        }
        let (Some(before), Some(after)) = (before, stat()) else {
            // Nothing of one that lives was seen, where that cannot be read either.
            let unseen = match procfs::look_at(pid) {
                Look::NotSeen(why) => Some(why),
                Look::Seen(stat) => looked.unseen.filter(|_| !stat.is_dead()),
                Look::Gone(_) => None,
            };
            return (Looked { unseen, ..looked }, fd);
        };
        if after.by != by {
            continue;
        }
        let after = as_told(&after);
        let whole = before.in_place && after.in_place && before.image == after.image;
        if whole {
            return (looked, fd);
        }
        match locks::holds_a_guarding_lock(pid) {
            // What it maps will be another's.
            Look::Seen(false) | Look::Gone(_) => {
                return (Looked { mappings: None, unseen: None, ..looked }, fd);
            }
            Look::NotSeen(why) => return (Looked { unseen: Some(why), ..looked }, fd),
            Look::Seen(true) => {}
        }
        clock::sleep_ns(IN_EXEC_PAUSE_NS);
    }
    // On its way to whichever gate.
    (Looked { pid, page: Some(0), ..Looked::default() }, None)
}

/// `by`: the thread by which it is looked at.
fn look_once(
    pid: i32,
    by: i32,
    pages: &Pages,
    copied: &mut Vec<Copied>,
) -> (Looked, Option<OwnedFd>) {
    copied.retain(|c| c.pid != pid);
    let mut looked = Looked { pid, ..Looked::default() };
    let mut candidates = Vec::new();
    let mut libc = false;
    let mut library = None;
    // The page of a gate that nobody has named to us (in another directory).
    let mut foreign_page = None;
    let mut stores = Stores::of(by, STORES_MAX);
    let (mut maps_nothing, mut programs) = (true, Programs::default());
    let read = maps::each(by, |line| {
        maps_nothing = false;
        stores.take(&line);
        programs.take(&line);
        if library.is_none() && library::is_ours(&line) {
            library = Some((line.start, line.end, line.path_once().to_owned()));
        }
        take_line(&line, pages, &mut looked, &mut candidates);
        if looked.page.is_none() && foreign_page.is_none() && is_named_as_a_page(&line) {
            foreign_page = Some(MappedPage::of(by, &line));
        }
        // Preloaded libraries are mapped before those that a program needs.
        libc |= C_LIBRARIES.iter().any(|name| line.path.contains(name));
    });
    match read {
        Ok(Extent::Whole) if maps_nothing => looked.unseen = Some(NOTHING_MAPPED),
        Ok(Extent::Whole) => looked.mappings = stores.whole(),
        Ok(Extent::CutOff) => looked.unseen = Some(WhyNot::TooMuch),
        Err(e) => {
            looked.unseen = Some(WhyNot::of(&e));
            return (looked, None);
        }
    }
    // It hears that gate, and is not on its way to ours.
    let hears_a_namesake = looked.page.is_none()
        && looked.other_page.is_some()
        && foreign_page
            .as_ref()
            .and_then(Option::as_ref)
            .is_some_and(|page| page.is_of_another_namespace(by));
    looked.elsewhere |= hears_a_namesake;
    // One that has taken another page, and has its region, will take none of ours in this image: it is not
    // looked at again behind the barrier, and what it does is nothing that this gate lets pass.
    let foreign_page =
        foreign_page.is_some() && looked.page.is_none() && looked.other_page.is_none();
    let has_taken_it = looked.library && foreign_page && !candidates.is_empty();
    looked.decided = looked.elsewhere || has_taken_it || libc && !looked.library;
    looked.is_static = !looked.decided && programs.is_static(by);
    looked.maps_page = looked.page.is_some();
    // Also of those that have a libc and not the library: with LD_AUDIT the loader maps an
    // auditor's libc long before it maps ours.
    if looked.page.is_none() && looked.other_page.is_none() {
        let asks_for = match asked_gate(by, &pages.own) {
            Look::Seen(gate) => gate,
            Look::Gone(_) => None,
            Look::NotSeen(why) => {
                looked.unseen = Some(why);
                None
            }
        };
        if !looked.elsewhere {
            looked.layout =
                library.map(|(start, end, path)| library::layout_of(by, start, end, &path));
        }
        looked.asks_for = asks_for;
        // By the name that it was given: of a page whose file system was taken away the kernel shows a
        // name without that file system's place.
        looked.other_page = looked.other_page.or(asks_for.filter(|_| has_taken_it));
        // One with another layout is on its way to nowhere: that library does not take our page. Nor
        // is one that has a page already.
        let is_lost =
            looked.layout.is_some_and(LibraryLayout::is_other) || looked.elsewhere || has_taken_it;
        // A static program does not ask the loader. (valgrind is one, and loads what its program would:
        // it stays undecided, and is looked at again.)
        let comes = || looked.library || !never_loads_ours(&exe(by));
        if asks_for.is_some() && !is_lost && comes() {
            match locks::holds_a_guarding_lock(pid) {
                Look::Seen(true) => looked.page = asks_for,
                Look::Seen(false) | Look::Gone(_) => {}
                Look::NotSeen(why) => looked.unseen = Some(why),
            }
        }
    }
    if looked.page.is_none() || candidates.len() > CANDIDATES {
        if looked.page.is_some() {
            looked.unseen = Some(WhyNot::TooMuch);
        }
        return (looked, None);
    }
    let fd = find_region(pid, by, &candidates, copied, &mut looked);
    (looked, fd)
}

/// A file of a page's size that is called as one.
fn is_named_as_a_page(line: &Line<'_>) -> bool {
    line.shared
        && !line.writable
        && line.size() == gate::control::SIZE as u64
        && line.path_once().ends_with("/control")
}

fn exe(pid: i32) -> PathBuf {
    format!("/proc/{pid}/exe").into()
}

/// What one of its mappings says; and whether a region may lie there.
fn take_line(
    line: &Line<'_>,
    pages: &Pages,
    looked: &mut Looked,
    candidates: &mut Vec<(u64, u64)>,
) {
    // One that maps a page writable is a freezer, or its helper; services may only read.
    if line.shared && !line.writable && line.ino != 0 {
        let is_it = |page: &PageId| page.ino == line.ino && page.dev == line.dev;
        let this = pages.own.iter().position(is_it);
        looked.page = looked.page.or(this);
        if this.is_none() && line.size() == gate::control::SIZE as u64 {
            // By the file itself: a name is whatever its owner likes it to be.
            looked.elsewhere |= pages.others.iter().any(is_it);
            let path = line.path_once();
            let old = pages.own.iter().position(|page| path == page.path);
            looked.other_page = looked.other_page.or(old);
        }
    }
    if line.shared && line.size() == SIZE as u64 && pages.may_be_anonymous(line) {
        // One more than are looked through tells that there are more.
        if candidates.len() <= CANDIDATES {
            candidates.push((line.start, line.end));
        }
    }
    looked.found_no_memory |=
        line.shared && line.size() == (SIZE - PAGE) as u64 && pages.may_be_anonymous(line);
    looked.library |= library::is_ours(line);
}

/// The region among these mappings. The newest lies lowest more often than not; order does
/// not matter for truth.
fn find_region(
    pid: i32,
    by: i32,
    candidates: &[(u64, u64)],
    copied: &mut Vec<Copied>,
    looked: &mut Looked,
) -> Option<OwnedFd> {
    let Some(own) = procfs::innermost_pid(&pid.to_string()) else {
        looked.unseen = Some(WhyNot::Errno(libc::ESRCH));
        return None;
    };
    let mut inherited = false;
    for &(start, end) in candidates {
        match open_region((pid, by), start, end, own, copied) {
            Ok(Candidate::Own(found, fd, came)) => {
                looked.region = found;
                looked.left = came;
                return Some(fd);
            }
            Ok(Candidate::Inherited(forker)) => {
                inherited = true;
                looked.named = Some(forker.named);
                if !forker.files.is_empty() && !is_parent(pid, forker.pid) {
                    looked.left = forker.files;
                }
            }
            Ok(Candidate::None) => {}
            Err(e) => looked.region = RegionFound::Denied(e.raw_os_error().unwrap_or(0)),
        }
    }
    if looked.region == RegionFound::None
        && procfs::stat(pid).is_some_and(|s| s.ppid > 0 && share_memory(pid, s.ppid))
    {
        looked.region = RegionFound::Shared;
    } else if looked.region == RegionFound::None && inherited {
        looked.region = RegionFound::Inherited;
    }
    None
}

/// Is the parent of this process still the one that calls itself `forker`?
fn is_parent(pid: i32, forker: i32) -> bool {
    let parent = procfs::stat(pid).map(|stat| stat.ppid);
    let same = |parent: &i32| procfs::innermost_pid(&parent.to_string()) == Some(forker);
    parent.is_some_and(|parent| same(&parent) && procfs::stat(parent).is_some_and(|s| !s.is_dead()))
}

/// The gate that a process's environment names, from the first moment on.
///
/// Between exec and our constructor it maps nothing of ours. It matters if it holds a lock
/// that it took before the exec: its set is half-done until it shows.
///
/// Asked of everything on the machine: what costs least first. Its locks are looked for
/// with its descriptors, for to read `/proc/locks` is to wait some 10 ms for the kernel.
fn asked_gate(pid: i32, pages: &[PageId]) -> Look<Option<usize>> {
    let environ = match environ::read(pid) {
        Ok(environ) => environ,
        Err(_) if !is_there(pid) => return Look::Gone(Proof::NoProcess),
        Err(e) => return Look::NotSeen(WhyNot::of(&e)),
    };
    let value = |name: &str| environ.get(name).map(String::as_str);
    if !value("LD_PRELOAD").is_some_and(|preload| preload.contains("libwritegate")) {
        return Look::Seen(None);
    }
    let dir = value("WRITEGATE_DIR").unwrap_or(DEFAULT_DIR).trim_end_matches('/');
    let page = format!("{dir}/{}/control", value("WRITEGATE_GATE").unwrap_or("default"));
    let ours = || pages.iter().position(|known| known.path == page);
    Look::Seen(ours().filter(|_| !leads_to_another(pid, Path::new(&page))))
}
