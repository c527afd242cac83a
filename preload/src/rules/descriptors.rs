//! Closing and duplicating descriptors, which ends locks or gives them another name.

use super::inherited::{ask_for_lost, book_duplicates, has_duplicate, placed};
use super::lock_files::let_go;
use crate::announce::{BRACKET, PASS};
use crate::frame::Frame;
use crate::linux::confined;
use crate::linux::descriptors::closes_ranges;
use crate::protected::{descriptor_cache, unasked};
use crate::resolve::libc::dirfd;
use crate::this_process::lock_table::{file_of, overflowed, recount, shares_memory};
use crate::this_process::state::{LOCKS_SEEN, Region, region};
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::Rule;
use gate::locks::{Table, TableFull};
use linux_raw_sys::general::STDERR_FILENO;

/// close_range only marks the descriptors then.
const CLOSE_RANGE_CLOEXEC: u64 = 4;

/// Nothing is locked, and nothing was, and no descriptor has an answer that must be forgotten.
#[inline(always)]
pub fn none_matters() -> bool {
    !LOCKS_SEEN.load(Relaxed) && !confined::by_itself()
}

/// Before a close, where [`none_matters`].
#[inline(always)]
pub fn close() -> u64 {
    descriptor_cache::forget();
    PASS
}

/// Before a dup2, where [`none_matters`]: only to put down where a descriptor is put.
#[inline(always)]
pub fn dup2(frame: &Frame) -> u64 {
    descriptor_cache::forget();
    has_duplicate(frame.arg(0) as i32);
    placed(frame.arg(1) as i32);
    PASS
}

/// Before a dup: it closes nothing, and what it makes is known afterwards.
#[inline(always)]
pub fn dup() -> u64 {
    descriptor_cache::forget();
    BRACKET
}

/// After it.
#[inline(always)]
pub fn dupped(frame: &Frame, region: &'static Region) {
    if frame.int() >= 0 {
        duplicated(region, frame.arg(0) as i32, frame.int());
    }
}

/// Before a descriptor is closed or replaced.
///
/// A close is booked *before* it happens: between the two nothing is changed, and
/// after it another thread could already have locked a file under the same number.
/// dup2 may fail and is booked afterwards.
pub fn closing(frame: &mut Frame, rule: Rule) -> u64 {
    descriptor_cache::forget();
    if confined::by_itself() {
        forget_unasked(frame, rule);
    }
    if !LOCKS_SEEN.load(Relaxed) {
        return if let Rule::Dup2 = rule { dup2(frame) } else { PASS };
    }
    let Some(region) = region() else { return PASS };
    let table = Table(&region.header.locks);
    match rule {
        Rule::Close(n) => close_now(region, frame.arg(n) as i32),
        Rule::CloseDir => close_now(region, dirfd(frame.arg(0))),
        Rule::LoginTty => range_now(region, 0, STDERR_FILENO as i32),
        Rule::CloseFrom => range_now(region, frame.arg(0) as i32, i32::MAX),
        // With the flag it closes nothing now.
        Rule::CloseRange if frame.arg(2) & CLOSE_RANGE_CLOEXEC == 0 => {
            // Unsigned for the kernel: a number beyond all descriptors is no negative one, below all.
            let [first, last] = [0, 1].map(|n| i32::try_from(frame.arg(n) as u32));
            let range = first.unwrap_or(i32::MAX)..=last.unwrap_or(i32::MAX);
            // One that fails closes none: an old kernel, a filter, a flag that is none.
            if table.locks().any(|lock| range.contains(&lock.fd)) && closes_ranges(frame.arg(2)) {
                range_now(region, *range.start(), *range.end());
            }
        }
        Rule::Dup2 => {
            let new = frame.arg(1) as i32;
            frame.note[0] = 0;
            if !table.is_empty()
                && let Some((dev, ino)) = file_of(region, new)
            {
                frame.note = [1, dev, ino, 0, 0];
            }
            return BRACKET;
        }
        _ => {}
    }
    PASS
}

/// What was known of these descriptors' files is known no more.
fn forget_unasked(frame: &Frame, rule: Rule) {
    match rule {
        Rule::Close(n) => unasked::forget(frame.arg(n) as i32),
        Rule::Dup2 => unasked::forget(frame.arg(1) as i32),
        _ => unasked::forget_all(),
    }
}

/// Books a close. A child that shares its parent's memory has descriptors of its
/// own but not a table of its own.
pub fn close_now(region: &'static Region, fd: i32) {
    let table = Table(&region.header.locks);
    ask_for_lost(region);
    if fd < 0 || table.is_empty() {
        return;
    }
    let file = file_of(region, fd);
    let touched = table.locks().any(|lock| lock.fd == fd || file == Some((lock.dev, lock.ino)));
    if touched && !shares_memory(region) {
        book_duplicates(region, fd, file);
        table.closed(fd, file);
        let_go(region);
    }
}

fn range_now(region: &'static Region, first: i32, last: i32) {
    let table = Table(&region.header.locks);
    ask_for_lost(region);
    let touched = table.locks().any(|lock| (first..=last).contains(&lock.fd));
    if touched && !shares_memory(region) {
        for lock in table.locks().filter(|lock| (first..=last).contains(&lock.fd)) {
            book_duplicates(region, lock.fd, Some((lock.dev, lock.ino)));
        }
        table.closed_range(first, last);
        let_go(region);
    }
}

/// After a dup2, or the close of a stream.
pub fn closed(frame: &mut Frame, region: &'static Region, rule: Rule) {
    let table = Table(&region.header.locks);
    match rule {
        Rule::Dup2 if frame.int() >= 0 => {
            let (old, new) = (frame.arg(0) as i32, frame.arg(1) as i32);
            if old == new || shares_memory(region) {
                return;
            }
            has_duplicate(old);
            placed(new);
            let file = (frame.note[0] == 1).then_some((frame.note[1], frame.note[2]));
            table.closed(new, file);
            let TableFull(full) = table.duplicated(old, new);
            if full {
                overflowed(region);
            }
            let_go(region);
        }
        Rule::StreamClose(_) | Rule::Freopen if frame.note[0] == 1 && !shares_memory(region) => {
            table.closed(frame.note[1] as i32, Some((frame.note[2], frame.note[3])));
            let_go(region);
        }
        _ => {}
    }
}

/// `new` is another descriptor of what `old` is.
pub fn duplicated(region: &'static Region, old: i32, new: i32) {
    has_duplicate(old);
    placed(new);
    if !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    let table = Table(&region.header.locks);
    if table.locks().any(|lock| lock.fd == old) && !shares_memory(region) {
        let TableFull(full) = table.duplicated(old, new);
        if full {
            overflowed(region);
        }
        recount(region);
    }
}
