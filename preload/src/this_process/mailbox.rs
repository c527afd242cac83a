//! What forked children leave for the process that waits for them: lock files that they made,
//! and the command line of a program that they are about to become, which may make one.
//!
//! Memory that is shared by a program and all that it forks, until they become other programs.
//! It is made before the first fork, and read when a child has ended.

use crate::linux::memory;
use crate::linux::process;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};

/// So many may lie there at a time.
const PLACES: usize = 11;
/// Longest text of one.
pub const TEXT: usize = 1024 - 40;

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const USED: u32 = 2;

/// One message.
#[repr(C)]
struct Place {
    state: AtomicU32,
    /// The child, or, where its id is not known, 0.
    child: AtomicI32,
    /// The process that it is for, where that is known.
    parent: AtomicI32,
    len: AtomicU32,
    dev: AtomicU64,
    /// 0: the text is a command line.
    ino: AtomicU64,
    /// When, s of CLOCK_REALTIME, in the high half; ns in the low one.
    since: AtomicU64,
    text: [AtomicU8; TEXT],
}

#[repr(C)]
struct Mailbox {
    places: [Place; PLACES],
    /// How many are used.
    used: AtomicU32,
    /// Something did not fit.
    lost: AtomicU32,
}

const SIZE: usize = 3 * memory::PAGE;
const _: () = assert!(size_of::<Mailbox>() <= SIZE);

/// Null before the first fork.
static MAILBOX: AtomicPtr<Mailbox> = AtomicPtr::new(null_mut());

/// What a child has left.
pub struct Message {
    /// Device of the lock file.
    pub dev: u64,
    /// Its inode; 0: the text is a directory and, after a NUL, a command line, and the lock
    /// files are those that were made since.
    pub ino: u64,
    /// See there.
    pub since: (i64, i64),
    text: [u8; TEXT],
    len: usize,
}

impl Message {
    /// The lock file's path; or directory, NUL, command line.
    pub fn text(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or(&[])
    }
}

fn mailbox() -> Option<&'static Mailbox> {
    // SAFETY: null, or a mapping of that size, made below and never unmapped; it consists of
    // atomics, for which zero is valid.
    unsafe { MAILBOX.load(Acquire).as_ref() }
}

/// Before a fork: from now on children can leave something.
pub fn make() {
    if !MAILBOX.load(Relaxed).is_null() {
        return;
    }
    let at = memory::map(SIZE, true, -1).cast::<Mailbox>();
    if at.is_null() {
        return;
    }
    if MAILBOX.compare_exchange(null_mut(), at, AcqRel, Relaxed).is_err() {
        // SAFETY: mapped just now, and known to nobody.
        unsafe { memory::unmap(at.cast(), SIZE) };
    }
}

/// Can children leave something?
pub fn is_made() -> bool {
    mailbox().is_some()
}

/// Does anything lie there, of whichever child, or did something not fit?
#[inline(always)]
pub fn is_used() -> bool {
    mailbox()
        .is_some_and(|mailbox| mailbox.used.load(Relaxed) != 0 || mailbox.lost.load(Relaxed) != 0)
}

/// Has something not fitted? Asked once.
pub fn has_lost() -> bool {
    mailbox().is_some_and(|mailbox| {
        mailbox.lost.load(Relaxed) != 0 && mailbox.lost.swap(0, Relaxed) != 0
    })
}

/// Leaves a message of `child` (0: one of `parent`'s, whichever). `ino` 0: a command line.
pub fn put(child: i32, parent: i32, file: (u64, u64), since: (i64, i64), text: &[&[u8]]) {
    let Some(mailbox) = mailbox() else { return };
    let len: usize = text.iter().map(|part| part.len()).sum();
    let claim = |from: u32| {
        mailbox.places.iter().find(|place| {
            let stale = || place.state.load(Acquire) == USED && is_of_the_dead(place);
            (from == FREE || stale())
                && place.state.compare_exchange(from, CLAIMED, AcqRel, Relaxed).is_ok()
        })
    };
    let fresh = (len <= TEXT).then(|| claim(FREE)).flatten();
    let place = match fresh {
        Some(place) => {
            mailbox.used.fetch_add(1, Relaxed);
            Some(place)
        }
        None if len <= TEXT => claim(USED),
        None => None,
    };
    let Some(place) = place else {
        mailbox.lost.store(1, Relaxed);
        return;
    };
    place.child.store(child, Relaxed);
    place.parent.store(parent, Relaxed);
    place.dev.store(file.0, Relaxed);
    place.ino.store(file.1, Relaxed);
    place.since.store((since.0 as u64) << 32 | since.1 as u64 & 0xffff_ffff, Relaxed);
    place.len.store(len as u32, Relaxed);
    let bytes = text.iter().flat_map(|part| part.iter());
    for (to, from) in place.text.iter().zip(bytes) {
        to.store(*from, Relaxed);
    }
    place.state.store(USED, Release);
}

/// Its child was reaped by nobody who looks here, or the one that it is for is gone.
fn is_of_the_dead(place: &Place) -> bool {
    let dead = |pid: i32| pid > 0 && process::thread_gone(pid, pid);
    dead(place.child.load(Relaxed)) || dead(place.parent.load(Relaxed))
}

/// A lock file that this child has left is gone.
pub fn forget(child: i32, dev: u64, ino: u64) {
    let Some(mailbox) = mailbox() else { return };
    for place in &mailbox.places {
        let is_it = place.state.load(Acquire) == USED
            && place.child.load(Relaxed) == child
            && (place.dev.load(Relaxed), place.ino.load(Relaxed)) == (dev, ino);
        if is_it && place.state.compare_exchange(USED, FREE, AcqRel, Relaxed).is_ok() {
            mailbox.used.fetch_sub(1, Relaxed);
        }
    }
}

/// Takes out, one after the other, what this child of this process has left.
#[inline(never)]
pub fn take(child: i32, parent: i32, mut each: impl FnMut(&Message)) {
    let Some(mailbox) = mailbox() else { return };
    for place in &mailbox.places {
        let from = place.child.load(Relaxed);
        let is_it = place.state.load(Acquire) == USED
            && (from == child && child != 0 || from == 0 && place.parent.load(Relaxed) == parent);
        if !is_it || place.state.compare_exchange(USED, CLAIMED, AcqRel, Relaxed).is_err() {
            continue;
        }
        let since = place.since.load(Relaxed);
        let mut message = Message {
            dev: place.dev.load(Relaxed),
            ino: place.ino.load(Relaxed),
            since: ((since >> 32) as i64, (since & 0xffff_ffff) as i64),
            text: [0; TEXT],
            len: place.len.load(Relaxed) as usize,
        };
        for (to, from) in message.text.iter_mut().zip(&place.text) {
            *to = from.load(Relaxed);
        }
        place.state.store(FREE, Release);
        mailbox.used.fetch_sub(1, Relaxed);
        each(&message);
    }
}
