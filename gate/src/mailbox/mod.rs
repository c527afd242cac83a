//! What children leave for the process that waits for them: lock files that they made, and the
//! command line of a program that they are about to become, which may make one.
//!
//! Memory that is shared by a program and all that it forks, until they become other programs.
//! A message is for the one that learns of its child's end, and for nobody else; of what did not
//! fit that child's end tells it ([`Mailbox::take_lost`]). Whoever claims a place is known by it: a
//! process may be killed at any moment, and what it has claimed is taken back then.

mod places;
#[cfg(test)]
mod tests;

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};
pub use places::PLACES;
use places::Places;

/// A bit for the child that lost something, by its id.
const LOST: usize = 1 << 15;

/// As it lies in memory, where all zero bytes are an empty one.
#[repr(C)]
pub struct Mailbox {
    /// Messages that lie there. (One more for good, where a process was killed in the middle: then
    /// it is looked for what is not there.)
    used: AtomicU32,
    /// Children that have lost something, and whose end nobody has seen.
    losers: AtomicU32,
    lost: [AtomicU64; LOST / u64::BITS as usize],
    places: Places,
}

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// A lock file (device, inode) with this path.
    File(u64, u64),
    /// A directory and, after a NUL, a command line that is run in it; the lock files are those that
    /// were made since (s and ns of CLOCK_REALTIME).
    Command((i64, i64)),
}

/// A message that lies there for a child whose id is not known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(pub u64);

/// A message, taken out.
pub struct Message<'a> {
    mailbox: &'a Mailbox,
    first: u32,
    /// What its text is about.
    pub about: About,
}

impl Message<'_> {
    /// The lock file's path; or directory, NUL, command line.
    pub fn text(&self) -> impl Iterator<Item = u8> + use<'_> {
        self.mailbox.places.chain(self.first).flat_map(|(_, place)| place.bytes())
    }
}

/// A message that is being written. One that is not sent is its writer's until that ends.
pub struct Draft<'a> {
    mailbox: &'a Mailbox,
    own: i32,
    gone: fn(i32) -> bool,
    first: u32,
    last: u32,
    complete: bool,
}

impl Draft<'_> {
    /// Appends to its text.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.complete {
            let more = || self.mailbox.claim(self.own, self.gone);
            match self.mailbox.places.append(self.last, bytes, more) {
                Some(last) => self.last = last,
                None => self.complete = false,
            }
        }
    }

    /// None: it did not fit, and nothing lies there.
    pub fn send(self, from: Option<From>, reader: i32, about: About) -> Option<Ticket> {
        let places = &self.mailbox.places;
        let place = places.get(self.first)?;
        if !self.complete {
            places.free(self.first);
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
        places.publish(self.first);
        Some(Ticket(self.first as u64))
    }
}

impl Mailbox {
    /// Does anything lie there, of whichever child, or did something not fit?
    #[inline(always)]
    pub fn is_used(&self) -> bool {
        self.used.load(Relaxed) != 0 || self.losers.load(Relaxed) != 0
    }

    fn claim(&self, own: i32, gone: fn(i32) -> bool) -> Option<u32> {
        self.places.claim(own).or_else(|| {
            self.forget_dead(own, gone);
            self.places.claim(own)
        })
    }

    /// Begins a message; `own` is the id of the process that writes it, `gone` tells whether there
    /// is none any more with an id. None: there is no room.
    pub fn draft(&self, own: i32, gone: fn(i32) -> bool) -> Option<Draft<'_>> {
        let first = self.claim(own, gone)?;
        Some(Draft { mailbox: self, own, gone, first, last: first, complete: true })
    }

    /// It is known now whose end this message is about.
    pub fn assign(&self, ticket: Ticket, from: From) {
        if let Some(place) = self.places.get(ticket.0 as u32) {
            place.from.store(from.key(), Release);
        }
    }

    fn take_out(&self, first: u32, own: i32) -> Option<Message<'_>> {
        if !self.places.take(first, own) {
            return None;
        }
        self.used.fetch_sub(1, Relaxed);
        let place = self.places.get(first)?;
        let since = place.since.load(Relaxed);
        let about = match place.ino.load(Relaxed) {
            0 => About::Command(((since >> 32) as i64, (since & 0xffff_ffff) as i64)),
            ino => About::File(place.dev.load(Relaxed), ino),
        };
        Some(Message { mailbox: self, first, about })
    }

    /// Shows a message that was kept for this call of process `own`, and takes it out.
    pub fn take_kept(&self, ticket: Ticket, own: i32, each: impl FnOnce(&Message)) {
        if let Some(message) = self.take_out(ticket.0 as u32, own) {
            each(&message);
            self.places.free(message.first);
        }
    }

    /// Shows and takes out, one after the other, what was left for process `own` about this end.
    pub fn take(&self, from: From, own: i32, mut each: impl FnMut(&Message)) {
        let is_for = |of: i32| of == own || of == 0 && matches!(from, From::Child(_));
        for (number, place) in self.places.used() {
            if place.from.load(Acquire) == from.key()
                && is_for(place.reader.load(Relaxed))
                && let Some(message) = self.take_out(number, own)
            {
                each(&message);
                self.places.free(number);
            }
        }
    }

    /// A lock file that process `own` has left is gone.
    pub fn forget(&self, own: i32, dev: u64, ino: u64) {
        for (number, place) in self.places.used() {
            let is_it = place.from.load(Relaxed) == From::Child(own).key()
                && (place.dev.load(Relaxed), place.ino.load(Relaxed)) == (dev, ino);
            if is_it && self.take_out(number, own).is_some() {
                self.places.free(number);
            }
        }
    }

    /// Frees what lies there for the dead, and what they have claimed: nobody has waited for the child, or
    /// the reader is gone. If one learns of that child's end just now, it is told that something was lost.
    fn forget_dead(&self, own: i32, gone: fn(i32) -> bool) {
        let dead = |pid: i32| pid > 0 && gone(pid);
        for (number, place) in self.places.used() {
            let child = i32::try_from(place.from.load(Relaxed)).unwrap_or(0);
            let no_reader = dead(place.reader.load(Relaxed));
            if (no_reader || dead(child)) && self.take_out(number, own).is_some() {
                self.places.free(number);
                if !no_reader {
                    self.mark_lost(child);
                }
            }
        }
        self.places.reclaim(own, gone);
    }

    fn lost_bit(&self, child: i32) -> Option<(&AtomicU64, u64)> {
        let at = child as u32 as usize % LOST;
        let bit = 1 << (at % u64::BITS as usize);
        self.lost.get(at / u64::BITS as usize).map(|word| (word, bit))
    }

    /// What this child had to leave did not fit.
    pub fn mark_lost(&self, child: i32) {
        if let Some((word, bit)) = self.lost_bit(child)
            && word.fetch_or(bit, Relaxed) & bit == 0
        {
            self.losers.fetch_add(1, Relaxed);
        }
    }

    /// Has this child, which has ended, lost something? Asked once. (Another with an id that ends
    /// alike may be the one; then it is in doubt.)
    pub fn take_lost(&self, child: i32) -> bool {
        let Some((word, bit)) = self.lost_bit(child) else { return false };
        let is_lost = self.losers.load(Relaxed) != 0 && word.fetch_and(!bit, Relaxed) & bit != 0;
        if is_lost {
            self.losers.fetch_sub(1, Relaxed);
        }
        is_lost
    }
}
