//! Closing and duplicating descriptors, which ends locks or gives them another
//! name; and the calls on descriptors that have a rule of their own.

use super::bracket_if;
use crate::enter::{BRACKET, Begins, PASS, announce};
use crate::frame::Frame;
use crate::own;
use crate::place::{Target, descriptor};
use crate::resolve;
use crate::state::{LOCKS_LOST, LOCKS_SEEN, Region, region};
use crate::sys;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::Rule;
use gate::locks::{Table, TableFull};
use gate::region::{FLAG_AIO, FLAG_LOCKS_UNKNOWN, FLAG_MAPS_SHARED};

/// Sets a flag of this process's region.
pub fn note(flag: u32) {
    if let Some(region) = region() {
        region.header.flags.fetch_or(flag, Relaxed);
    }
}

/// Before a descriptor is closed or duplicated.
///
/// A close is booked *before* it happens: between the two nothing is changed, and
/// after it another thread could already have locked a file under the same number.
/// dup2 may fail and is booked afterwards.
pub fn closing(frame: &mut Frame, rule: Rule) -> u64 {
    crate::judged::forget();
    if matches!(rule, Rule::Dup | Rule::Dup2) && !children_may_lock() && !LOCKS_SEEN.load(Relaxed) {
        frame.note[0] = 0;
        return BRACKET;
    }
    if !LOCKS_SEEN.load(Relaxed) {
        return PASS;
    }
    let Some(region) = region() else { return PASS };
    let table = Table(&region.header.locks);
    match rule {
        Rule::Close(n) => close_now(region, frame.arg(n) as i32),
        Rule::CloseDir => close_now(region, resolve::dirfd(frame.arg(0))),
        Rule::LoginTty => range_now(region, 0, 2),
        Rule::CloseFrom => range_now(region, frame.arg(0) as i32, i32::MAX),
        // CLOSE_RANGE_CLOEXEC closes nothing now.
        Rule::CloseRange if frame.arg(2) & 4 == 0 => range_now(
            region,
            frame.arg(0) as i32,
            (frame.arg(1) as u32).min(i32::MAX as u32) as i32,
        ),
        Rule::Dup => return bracket_if(!table.is_empty()),
        Rule::Dup2 if !table.is_empty() => {
            let new = frame.arg(1) as i32;
            frame.note[0] = 0;
            if let Some(stat) = sys::fstat(new) {
                frame.note = [1, stat.dev, stat.ino, 0, 0];
            }
            return BRACKET;
        }
        _ => {}
    }
    PASS
}

/// Books a close. A child that shares its parent's memory has descriptors of its
/// own but not a table of its own.
pub fn close_now(region: &'static Region, fd: i32) {
    let table = Table(&region.header.locks);
    if fd < 0 || table.is_empty() {
        return;
    }
    let file = sys::fstat(fd).map(|stat| (stat.dev, stat.ino));
    let touched = table.locks().any(|lock| lock.fd == fd || file == Some((lock.dev, lock.ino)));
    if touched && !own::shares_memory(region) {
        table.closed(fd, file);
        gave_up(region);
    }
}

fn range_now(region: &'static Region, first: i32, last: i32) {
    let table = Table(&region.header.locks);
    let touched = table.locks().any(|lock| (first..=last).contains(&lock.fd));
    if touched && !own::shares_memory(region) {
        table.closed_range(first, last);
        gave_up(region);
    }
}

/// Some lock is gone: an admission for it ends, and perhaps the section.
pub fn gave_up(region: &'static Region) {
    region.header.lock_sequence.fetch_add(1, Relaxed);
    own::recount(region);
}

/// The table was full.
pub fn lost(region: &'static Region) {
    LOCKS_LOST.store(true, Relaxed);
    region.header.flags.fetch_or(FLAG_LOCKS_UNKNOWN, Relaxed);
}

/// After a dup, a dup2, or the close of a stream.
pub fn closed(frame: &mut Frame, region: &'static Region, rule: Rule) {
    let table = Table(&region.header.locks);
    match rule {
        Rule::Dup if frame.int() >= 0 => duplicated(region, frame.arg(0) as i32, frame.int()),
        Rule::Dup2 if frame.int() >= 0 => {
            let (old, new) = (frame.arg(0) as i32, frame.arg(1) as i32);
            if old == new || own::shares_memory(region) {
                return;
            }
            may_be_inherited(new);
            let file = (frame.note[0] == 1).then_some((frame.note[1], frame.note[2]));
            table.closed(new, file);
            let TableFull(full) = table.duplicated(old, new);
            if full {
                lost(region);
            }
            gave_up(region);
        }
        Rule::StreamClose(_) | Rule::Freopen
            if frame.note[0] == 1 && !own::shares_memory(region) =>
        {
            table.closed(frame.note[1] as i32, Some((frame.note[2], frame.note[3])));
            gave_up(region);
        }
        _ => {}
    }
}

/// A descriptor that a program puts in a place of its choice (a shell's
/// `exec 9>file`) is one that its children may lock for it.
static FOR_CHILDREN: AtomicBool = AtomicBool::new(false);

fn may_be_inherited(fd: i32) {
    if fd > 2 && sys::fstat(fd).is_some_and(|stat| stat.is_file()) {
        FOR_CHILDREN.store(true, Relaxed);
    }
}

/// May a child have locked something for this process?
pub fn children_may_lock() -> bool {
    FOR_CHILDREN.load(Relaxed)
}

/// `new` is another descriptor of what `old` is.
pub fn duplicated(region: &'static Region, old: i32, new: i32) {
    may_be_inherited(new);
    let table = Table(&region.header.locks);
    if table.locks().any(|lock| lock.fd == old) && !own::shares_memory(region) {
        let TableFull(full) = table.duplicated(old, new);
        if full {
            lost(region);
        }
        own::recount(region);
    }
}

/// Requests that change a file: clones, flags, allocation, subvolumes; by their
/// type and direction. Freezing and thawing a file system are not held.
pub fn ioctl(frame: &mut Frame) -> u64 {
    let request = frame.arg(1) as u32;
    let writes = request & 0x4000_0000 != 0;
    // btrfs and clones, XFS and generic, ext, verity and fscrypt.
    let kind = matches!(request >> 8 & 0xff, 0x94 | 0x58 | 0x66 | 0x76);
    if !writes || !kind || matches!(request, 0xc004_5877 | 0xc004_5878 | 0xc018_5879) {
        return PASS;
    }
    let fd = frame.arg(0) as i32;
    // SAFETY: no path.
    unsafe { announce(frame, Some(fd), Begins::Section, |_| Target::Fd(fd)) }
}

/// MADV_REMOVE punches a hole into the mapped file.
pub fn madvise(frame: &mut Frame) -> u64 {
    if frame.arg(2) as i32 != 9 {
        return PASS;
    }
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Section, |_| Target::Anything) }
}

/// A store into a shared writable mapping cannot be held: it is named.
pub fn mmap(frame: &mut Frame) -> u64 {
    let (protection, flags, fd) = (frame.arg(2), frame.arg(3), frame.arg(4) as i32);
    if flags & 1 != 0 && fd >= 0 {
        MAPS_SHARED.store(true, Relaxed);
        if protection & 2 != 0 && descriptor(fd) {
            note(FLAG_MAPS_SHARED);
        }
    }
    PASS
}

/// This process has mapped some file shared: mprotect may make it writable.
static MAPS_SHARED: AtomicBool = AtomicBool::new(false);

/// A read-only mapping that becomes writable under the barrier would be seen by
/// nobody: the freezer has looked at the mappings already. So that is held.
pub fn mprotect(frame: &mut Frame) -> u64 {
    if frame.arg(2) & 2 == 0 || !MAPS_SHARED.load(Relaxed) {
        return PASS;
    }
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Nothing, |_| Target::Anything) }
}

/// The queueing is held; what a helper thread writes later is named.
///
/// # Safety
/// The argument is an aio control block.
pub unsafe fn aio_write(frame: &mut Frame) -> u64 {
    note(FLAG_AIO);
    let block = frame.arg(0) as *const i32;
    if !crate::text::program_can_read(block as u64, 4) {
        return PASS;
    }
    // SAFETY: `struct aiocb` begins with the descriptor.
    unsafe {
        let fd = block.read_unaligned();
        announce(frame, Some(fd), Begins::Section, |_| Target::Fd(fd))
    }
}

/// As [`aio_write`], for a list.
pub fn aio_list(frame: &mut Frame) -> u64 {
    note(FLAG_AIO);
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Section, |_| Target::Anything) }
}
