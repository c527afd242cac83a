//! What children leave for the process that waits for them: lock files that they made, and the
//! command line of a program that they are about to become, which may make one.
//!
//! Memory that is shared by a program and all that it forks, until they become other programs.
//! It is made before the first fork. A message is for the one that learns of its child's end, and
//! for nobody else; of what did not fit that child's end tells it ([`take_lost`]).

use super::state::set_region_flag;
use crate::linux::{confined, memory, process};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
use gate::region::FLAG_LOCKS_UNKNOWN;

/// So many may lie there at a time. A long text takes several.
const PLACES: usize = 1024;
/// Bytes of text in one.
const TEXT: usize = 256 - 48;
/// A bit for the child that lost something, by its id.
const LOST: usize = 1 << 15;

const FREE: u32 = 0;
/// Being written or read, or the rest of a longer text.
const CLAIMED: u32 = 1;
const USED: u32 = 2;

/// What stands for no place, where 0 does.
const NONE: u32 = 0;

/// Part of a message.
#[repr(C)]
struct Place {
    state: AtomicU32,
    /// Where the text goes on: a place's number, from 1.
    next: AtomicU32,
    /// Whose end it is about ([`From::key`]); 0: not known yet.
    from: AtomicU64,
    /// The process that it is for, where its child's id does not say that; else 0.
    reader: AtomicI32,
    /// Bytes of text in this place.
    len: AtomicU32,
    dev: AtomicU64,
    /// 0: the text is a command line.
    ino: AtomicU64,
    /// When, s of CLOCK_REALTIME, in the high half; ns in the low one.
    since: AtomicU64,
    text: [AtomicU8; TEXT],
}

const _: () = assert!(size_of::<Place>() == 256);

#[repr(C)]
struct Mailbox {
    /// Messages that lie there.
    used: AtomicU32,
    /// Children that have lost something, and whose end nobody has seen.
    losers: AtomicU32,
    /// No place from here on was ever used.
    end: AtomicU32,
    _pad: u32,
    lost: [AtomicU64; LOST / u64::BITS as usize],
    places: [Place; PLACES],
}

const SIZE: usize = size_of::<Mailbox>().next_multiple_of(memory::PAGE);

/// Null before the first fork.
static MAILBOX: AtomicPtr<Mailbox> = AtomicPtr::new(null_mut());

/// Whose end a message is about.
#[derive(Clone, Copy)]
pub enum From {
    /// A child with this id.
    Child(i32),
    /// The child of this process that libc keeps with this stream (popen).
    Stream(u64),
}

impl From {
    fn key(self) -> u64 {
        match self {
            From::Child(pid) => pid as u32 as u64,
            // No address of a program's has this bit.
            From::Stream(stream) => stream | 1 << 63,
        }
    }
}

/// What a text is about.
#[derive(Clone, Copy)]
pub enum About {
    /// A lock file (device, inode) with this path.
    File(u64, u64),
    /// A directory and, after a NUL, a command line that is run in it; the lock files are those that
    /// were made since (s and ns of CLOCK_REALTIME).
    Command((i64, i64)),
}

/// A message that lies there for a child whose id is not known yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// A message, taken out.
pub struct Message {
    mailbox: &'static Mailbox,
    first: u32,
    pub about: About,
}

impl Message {
    /// The lock file's path; or directory, NUL, command line.
    pub fn text(&self) -> impl Iterator<Item = u8> + use<> {
        let mailbox = self.mailbox;
        mailbox.chain(self.first).flat_map(|(_, place)| {
            let len = place.len.load(Relaxed) as usize;
            place.text.iter().take(len).map(|byte| byte.load(Relaxed))
        })
    }
}

impl Mailbox {
    fn place(&self, number: u32) -> Option<&Place> {
        self.places.get((number as usize).wrapping_sub(1))
    }

    /// The places of a message, with their numbers.
    fn chain(&self, first: u32) -> impl Iterator<Item = (u32, &Place)> {
        let mut number = first;
        let next = move || {
            let at = number;
            let place = self.place(at)?;
            number = place.next.load(Relaxed);
            Some((at, place))
        };
        // No longer than there are places, whatever stands in it.
        core::iter::from_fn(next).take(PLACES)
    }

    /// Those that may hold a message.
    fn all(&self) -> impl Iterator<Item = (u32, &Place)> {
        let end = self.end.load(Relaxed) as usize;
        self.places.iter().take(end).enumerate().map(|(at, place)| (at as u32 + 1, place))
    }

    fn claim(&self) -> Option<u32> {
        let free = |place: &Place| {
            place.state.load(Relaxed) == FREE
                && place.state.compare_exchange(FREE, CLAIMED, AcqRel, Relaxed).is_ok()
        };
        let number = self.places.iter().position(free)? as u32 + 1;
        self.end.fetch_max(number, Relaxed);
        Some(number)
    }

    /// Gives back the places of a message, which is the caller's alone.
    fn free(&self, first: u32) {
        let mut number = first;
        while let Some(place) = self.place(number) {
            number = place.next.swap(NONE, Relaxed);
            place.state.store(FREE, Release);
        }
    }

    /// Takes a message out; none: it is not there any more.
    fn take_out(&'static self, first: u32) -> Option<Message> {
        let place = self.place(first)?;
        place.state.compare_exchange(USED, CLAIMED, AcqRel, Relaxed).ok()?;
        self.used.fetch_sub(1, Relaxed);
        let since = place.since.load(Relaxed);
        let about = match place.ino.load(Relaxed) {
            0 => About::Command(((since >> 32) as i64, (since & 0xffff_ffff) as i64)),
            ino => About::File(place.dev.load(Relaxed), ino),
        };
        Some(Message { mailbox: self, first, about })
    }

    /// Frees what lies there for the dead: nobody has waited for the child, or the reader is gone.
    /// If one learns of that child's end just now, it is told that something was lost.
    fn forget_dead(&'static self) {
        if confined::by_itself() {
            return;
        }
        let dead = |pid: i32| pid > 0 && process::thread_gone(pid, pid);
        for (number, place) in self.all().filter(|(_, place)| place.state.load(Acquire) == USED) {
            let child = i32::try_from(place.from.load(Relaxed)).unwrap_or(0);
            let no_reader = dead(place.reader.load(Relaxed));
            if (no_reader || dead(child)) && self.take_out(number).is_some() {
                self.free(number);
                if !no_reader {
                    mark_lost(child);
                }
            }
        }
    }

    fn lost_bit(&self, child: i32) -> Option<(&AtomicU64, u64)> {
        let at = child as u32 as usize % LOST;
        let bit = 1 << (at % u64::BITS as usize);
        self.lost.get(at / u64::BITS as usize).map(|word| (word, bit))
    }
}

fn mailbox() -> Option<&'static Mailbox> {
    // SAFETY: null, or a mapping of that size, made below and never unmapped; it consists of
    // atomics, for which zero is valid.
    unsafe { MAILBOX.load(Acquire).as_ref() }
}

/// Before a fork: from now on children can leave something.
#[inline(always)]
pub fn make() {
    if MAILBOX.load(Relaxed).is_null() {
        make_now();
    }
}

#[cold]
#[inline(never)]
fn make_now() {
    if confined::by_itself() {
        return;
    }
    let at = memory::map(SIZE, true, -1).cast::<Mailbox>();
    if at.is_null() {
        // What children leave will not be known.
        set_region_flag(FLAG_LOCKS_UNKNOWN);
        return;
    }
    if MAILBOX.compare_exchange(null_mut(), at, AcqRel, Relaxed).is_err() {
        // SAFETY: mapped just now, and known to nobody.
        unsafe { memory::unmap(at.cast(), SIZE) };
    }
}

/// Can children leave something?
#[inline(always)]
pub fn is_made() -> bool {
    !MAILBOX.load(Relaxed).is_null()
}

/// Does anything lie there, of whichever child, or did something not fit?
#[inline(always)]
pub fn is_used() -> bool {
    mailbox()
        .is_some_and(|mailbox| mailbox.used.load(Relaxed) != 0 || mailbox.losers.load(Relaxed) != 0)
}

/// A message that is being written.
pub struct Draft {
    mailbox: &'static Mailbox,
    first: u32,
    last: u32,
    complete: bool,
}

impl Draft {
    /// None: there is no room.
    pub fn begin() -> Option<Draft> {
        let mailbox = mailbox()?;
        let first = mailbox.claim().or_else(|| {
            mailbox.forget_dead();
            mailbox.claim()
        })?;
        mailbox.place(first)?.len.store(0, Relaxed);
        Some(Draft { mailbox, first, last: first, complete: true })
    }

    /// Appends to its text.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.complete {
            let Some(place) = self.mailbox.place(self.last) else { return };
            let len = place.len.load(Relaxed) as usize;
            let room = place.text.get(len..).unwrap_or(&[]);
            let fits = bytes.len().min(room.len());
            for (to, from) in room.iter().zip(bytes) {
                to.store(*from, Relaxed);
            }
            place.len.store((len + fits) as u32, Relaxed);
            bytes = bytes.get(fits..).unwrap_or(&[]);
            if bytes.is_empty() {
                return;
            }
            match self.mailbox.claim() {
                Some(next) => {
                    if let Some(next) = self.mailbox.place(next) {
                        next.len.store(0, Relaxed);
                    }
                    place.next.store(next, Relaxed);
                    self.last = next;
                }
                None => self.complete = false,
            }
        }
    }

    /// None: it did not fit, and nothing lies there.
    pub fn send(self, from: Option<From>, reader: i32, about: About) -> Option<Ticket> {
        let place = self.mailbox.place(self.first)?;
        if !self.complete {
            self.mailbox.free(self.first);
            return None;
        }
        let (dev, ino, since) = match about {
            About::File(dev, ino) => (dev, ino, 0),
            About::Command((s, ns)) => (0, 0, (s as u64) << 32 | ns as u64 & 0xffff_ffff),
        };
        place.from.store(from.map_or(0, From::key), Relaxed);
        place.reader.store(reader, Relaxed);
        place.dev.store(dev, Relaxed);
        place.ino.store(ino, Relaxed);
        place.since.store(since, Relaxed);
        self.mailbox.used.fetch_add(1, Relaxed);
        place.state.store(USED, Release);
        Some(Ticket(self.first as u64))
    }
}

/// It is known now whose end this message is about.
pub fn assign(ticket: Ticket, from: From) {
    if let Some(place) = mailbox().and_then(|mailbox| mailbox.place(ticket.0 as u32)) {
        place.from.store(from.key(), Release);
    }
}

/// Shows a message that was kept for this call, and takes it out.
pub fn take_kept(ticket: Ticket, each: impl FnOnce(&Message)) {
    if let Some(mailbox) = mailbox()
        && let Some(message) = mailbox.take_out(ticket.0 as u32)
    {
        each(&message);
        mailbox.free(message.first);
    }
}

/// Shows and takes out, one after the other, what was left for `reader` about this end.
#[inline(never)]
pub fn take(from: From, reader: i32, mut each: impl FnMut(&Message)) {
    let Some(mailbox) = mailbox() else { return };
    let is_for = |of: i32| of == reader || of == 0 && matches!(from, From::Child(_));
    for (number, place) in mailbox.all() {
        if place.state.load(Acquire) == USED
            && place.from.load(Acquire) == from.key()
            && is_for(place.reader.load(Relaxed))
            && let Some(message) = mailbox.take_out(number)
        {
            each(&message);
            mailbox.free(number);
        }
    }
}

/// A lock file that this child has left is gone.
pub fn forget(child: i32, dev: u64, ino: u64) {
    let Some(mailbox) = mailbox() else { return };
    for (number, place) in mailbox.all() {
        let is_it = place.state.load(Acquire) == USED
            && place.from.load(Relaxed) == From::Child(child).key()
            && (place.dev.load(Relaxed), place.ino.load(Relaxed)) == (dev, ino);
        if is_it && mailbox.take_out(number).is_some() {
            mailbox.free(number);
        }
    }
}

/// What this child had to leave did not fit.
pub fn mark_lost(child: i32) {
    if let Some(mailbox) = mailbox()
        && let Some((word, bit)) = mailbox.lost_bit(child)
        && word.fetch_or(bit, Relaxed) & bit == 0
    {
        mailbox.losers.fetch_add(1, Relaxed);
    }
}

/// Has this child, which has ended, lost something? Asked once. (Another with an id that ends alike
/// may be the one; then it is in doubt.)
pub fn take_lost(child: i32) -> bool {
    mailbox().is_some_and(|mailbox| {
        let Some((word, bit)) = mailbox.lost_bit(child) else { return false };
        let is_lost = mailbox.losers.load(Relaxed) != 0 && word.fetch_and(!bit, Relaxed) & bit != 0;
        if is_lost {
            mailbox.losers.fetch_sub(1, Relaxed);
        }
        is_lost
    })
}
