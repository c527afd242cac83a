//! The places of the mailbox: claimed, chained to a longer text, given back, and taken from the dead.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64};

/// So many there are. A long text takes several.
pub const PLACES: usize = 1024;
/// Bytes of text in one.
pub const TEXT: usize = 256 - 48;

const FREE: u32 = 0;
/// Being written or read, or the rest of a longer text: of the process whose id stands above.
const CLAIMED: u32 = 1;
/// The first place of a message that can be taken out.
const USED: u32 = 2;
/// Was claimed by a process that is gone: the rest of a message, or to be taken back.
const LEFT: u32 = 3;
const KIND: u32 = 3;
/// Where the id begins. (The kernel's have 22 bits.)
const OWNER: u32 = 2;

/// What stands for no place, where 0 does.
pub(super) const NONE: u32 = 0;

/// One step: a process that is killed has claimed the place and is known by it, or has not.
fn claimed_by(pid: i32) -> u32 {
    (pid as u32) << OWNER | CLAIMED
}

fn owner(state: u32) -> Option<i32> {
    (state & KIND == CLAIMED).then_some((state >> OWNER) as i32)
}

/// Part of a message.
#[repr(C)]
pub(super) struct Place {
    state: AtomicU32,
    /// Where the text goes on: a place's number, from 1.
    next: AtomicU32,
    /// Whose end it is about ([`super::From::key`]); 0: not known yet.
    pub from: AtomicU64,
    /// The process that it is for, where its child's id does not say that; else 0.
    pub reader: AtomicI32,
    /// Bytes of text in this place.
    len: AtomicU32,
    pub dev: AtomicU64,
    /// 0: the text is a command line.
    pub ino: AtomicU64,
    /// When, s of CLOCK_REALTIME, in the high half; ns in the low one.
    pub since: AtomicU64,
    text: [AtomicU8; TEXT],
}

const _: () = assert!(size_of::<Place>() == 256);

impl Place {
    /// A message begins here, and can be taken out.
    pub fn is_used(&self) -> bool {
        self.state.load(Acquire) == USED
    }

    /// Its text.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<'_> {
        let len = self.len.load(Relaxed) as usize;
        self.text.iter().take(len).map(|byte| byte.load(Relaxed))
    }

    /// Appends what there is room for; what is left of it.
    fn append<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let len = self.len.load(Relaxed) as usize;
        let room = self.text.get(len..).unwrap_or(&[]);
        let fits = bytes.len().min(room.len());
        for (to, from) in room.iter().zip(bytes) {
            to.store(*from, Relaxed);
        }
        self.len.store((len + fits) as u32, Relaxed);
        bytes.get(fits..).unwrap_or(&[])
    }
}

/// A bit for each place.
#[derive(Default)]
struct Marked([u64; PLACES / u64::BITS as usize]);

impl Marked {
    fn word(number: u32) -> (usize, u64) {
        let at = number as usize % PLACES;
        (at / u64::BITS as usize, 1 << (at % u64::BITS as usize))
    }

    fn mark(&mut self, number: u32) {
        let (at, bit) = Self::word(number);
        self.0.get_mut(at).into_iter().for_each(|word| *word |= bit);
    }

    fn has(&self, number: u32) -> bool {
        let (at, bit) = Self::word(number);
        self.0.get(at).is_some_and(|word| word & bit != 0)
    }
}

/// All places.
#[repr(C)]
pub(super) struct Places {
    /// No place from here on was ever used.
    end: AtomicU32,
    /// Who takes back what the dead have left; 0: nobody.
    reclaimer: AtomicI32,
    places: [Place; PLACES],
}

impl Places {
    #[cfg(test)]
    pub fn reclaimer(&self) -> &AtomicI32 {
        &self.reclaimer
    }

    pub fn get(&self, number: u32) -> Option<&Place> {
        self.places.get((number as usize).wrapping_sub(1))
    }

    /// The places of a message, with their numbers.
    pub fn chain(&self, first: u32) -> impl Iterator<Item = (u32, &Place)> {
        let mut number = first;
        let next = move || {
            let at = number;
            let place = self.get(at)?;
            number = place.next.load(Relaxed);
            Some((at, place))
        };
        // No longer than there are places, whatever stands in it.
        core::iter::from_fn(next).take(PLACES)
    }

    /// Those that may hold something.
    fn all(&self) -> impl Iterator<Item = (u32, &Place)> {
        let end = self.end.load(Relaxed) as usize;
        self.places.iter().take(end).enumerate().map(|(at, place)| (at as u32 + 1, place))
    }

    /// The messages that can be taken out.
    pub fn used(&self) -> impl Iterator<Item = (u32, &Place)> {
        self.all().filter(|(_, place)| place.is_used())
    }

    /// A place of one's own, without text.
    pub fn claim(&self, own: i32) -> Option<u32> {
        let free = |place: &Place| {
            place.state.load(Relaxed) == FREE
                && place.state.compare_exchange(FREE, claimed_by(own), AcqRel, Relaxed).is_ok()
        };
        let number = self.places.iter().position(free)? as u32 + 1;
        self.end.fetch_max(number, Relaxed);
        self.get(number)?.len.store(0, Relaxed);
        Some(number)
    }

    /// Appends to the last place of a text that is one's own; `more`: where it goes on. None: no room.
    pub fn append(
        &self,
        last: u32,
        mut bytes: &[u8],
        mut more: impl FnMut() -> Option<u32>,
    ) -> Option<u32> {
        let mut last = last;
        loop {
            let place = self.get(last)?;
            bytes = place.append(bytes);
            if bytes.is_empty() {
                return Some(last);
            }
            let next = more()?;
            place.next.store(next, Relaxed);
            last = next;
        }
    }

    /// From now on the message can be taken out. The rest of its text stays its writer's, also when
    /// that is dead: what is reached from a message is in use.
    pub fn publish(&self, first: u32) {
        if let Some(place) = self.get(first) {
            place.state.store(USED, Release);
        }
    }

    /// It is one's own now, all of it. False: it is not there any more.
    pub fn take(&self, first: u32, own: i32) -> bool {
        let taken = self.take_first(first, own);
        if taken {
            // Until then it is reached from the first. While they are given back it is not.
            let mine = claimed_by(own);
            self.chain(first).skip(1).for_each(|(_, place)| place.state.store(mine, Release));
        }
        taken
    }

    pub(super) fn take_first(&self, first: u32, own: i32) -> bool {
        self.get(first).is_some_and(|place| {
            place.state.compare_exchange(USED, claimed_by(own), AcqRel, Relaxed).is_ok()
        })
    }

    /// Gives back a text that is one's own.
    pub fn free(&self, first: u32) {
        let mut number = first;
        while number != NONE {
            number = self.free_one(number);
        }
    }

    /// Where the text goes on.
    pub(super) fn free_one(&self, number: u32) -> u32 {
        let Some(place) = self.get(number) else { return NONE };
        let next = place.next.swap(NONE, Relaxed);
        place.state.store(FREE, Release);
        next
    }

    /// Takes back what was claimed by a process that was killed before it had sent it, or while it
    /// read it: all that is the dead's and is not the rest of a message. One process at a time: where
    /// another is at it, nothing is done.
    pub fn reclaim(&self, own: i32, gone: impl Fn(i32) -> bool) {
        let at_it = self.reclaimer.load(Relaxed);
        if at_it != 0 && !gone(at_it)
            || self.reclaimer.compare_exchange(at_it, own, AcqRel, Relaxed).is_err()
        {
            return;
        }
        let (mut left, mut reached) = (Marked::default(), Marked::default());
        for (number, place) in self.all() {
            let state = place.state.load(Acquire);
            // Nobody else makes a place this. So one that is it still in the end was it all the time.
            let make = |_| place.state.compare_exchange(state, LEFT, AcqRel, Relaxed).is_ok();
            if state == LEFT || owner(state).is_some_and(|owner| gone(owner) && make(owner)) {
                left.mark(number);
            }
        }
        // The dead chain nothing any more. So this comes second, and what it does not reach nothing will.
        for (first, place) in self.all() {
            let state = place.state.load(Acquire);
            if state == USED || owner(state).is_some() {
                self.chain(first).for_each(|(number, _)| reached.mark(number));
            }
        }
        for (number, place) in self.all().filter(|(number, _)| left.has(*number)) {
            let mine = claimed_by(own);
            // One that a reader has taken over meanwhile is its.
            if !reached.has(number)
                && place.state.compare_exchange(LEFT, mine, AcqRel, Relaxed).is_ok()
            {
                self.free_one(number);
            }
        }
        self.reclaimer.store(0, Release);
    }
}
