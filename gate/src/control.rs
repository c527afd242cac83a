//! The control page: what the freezer says to every process of a gate.
//!
//! `/run/writegate/NAME/control`, root's, mode 0644. The service maps it
//! read-only before it drops root or enters a chroot; only the freezer writes.
//! A process of the service, however badly hacked, cannot raise a barrier.

use crate::abi::{constants, shared};
use crate::places::Published;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

constants! {
    /// Changes with what the numbers in a page mean.
    pub(crate) shape SHAPE;

    /// First eight bytes of a control page.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"wgcontrl");
    /// Size of the file and of its mapping, in bytes.
    pub const SIZE: usize = 16 * 1024;
    /// Places for admissions.
    pub const ADMISSIONS: usize = 64;
    /// Longest profile, in bytes.
    pub const PROFILE_MAX: usize = SIZE - 4096;
    /// `profile_len` of a page whose profile had a fault.
    pub const PROFILE_REFUSED: u32 = u32::MAX;
    /// No writer waits longer than this in one call, whatever the page says.
    pub const BOUND_MAX_NS: u64 = 60_000_000_000;
    /// An admission that holds until the freezer takes it back (a section's child).
    pub const ANY_SEQUENCE: u64 = u64::MAX;
}

shared! {
    /// One permission to pass the closed barrier.
    #[repr(C)]
    pub struct AdmissionSlot {
        /// Nonce of the region that may pass; 0: place is free.
        pub nonce: AtomicU64,
        /// The lock sequence for which it holds, or [`ANY_SEQUENCE`].
        pub lock_sequence: AtomicU64,
    }
}

shared! {
    /// The page itself.
    #[repr(C, align(4096))]
    pub struct ControlPage {
        /// [`MAGIC`], written last when the page is made.
        pub magic: AtomicU64,
        /// [`crate::layout::LAYOUT`]; another number: not gated, the service must be restarted.
        pub layout: AtomicU32,
        /// [`SIZE`].
        pub size: AtomicU32,
        /// Of the boot that made the page: deadlines mean nothing in another.
        pub boot_id: [u8; 16],
        /// 0: open. Else the absolute CLOCK_MONOTONIC deadline in ns, which is also
        /// the generation: one load, nothing torn, never repeated. Waiters sleep on
        /// its low half.
        pub barrier: AtomicU64,
        /// When the present or last barrier was raised, ns.
        pub closed_at: AtomicU64,
        /// When the last barrier was lowered, ns; 0 while closed, or if its freezer died.
        pub opened_at: AtomicU64,
        /// The highest deadline ever used: the next must be larger.
        pub last_deadline: AtomicU64,
        /// How many freezes this page has seen.
        pub freezes: AtomicU64,
        /// Length of the profile's text in bytes.
        pub profile_len: AtomicU32,
        _pad: [u8; 4],
        /// The barrier of the programs that the profile holds first (key `first`): raised
        /// some ms before the other, with the same deadline, and lowered with it.
        pub barrier_first: AtomicU64,
        /// That of those among them that hand over (key `hand-over`): raised before both.
        pub barrier_senders: AtomicU64,
        /// The PID namespace in which the page was made; 0: not known ([`crate::mark`]).
        pub made_in: AtomicU64,
        _reserved: [u8; 152],
        /// Which regions may pass a closed barrier.
        pub admissions: [AdmissionSlot; ADMISSIONS],
        /// Which files are protected, as the freezer has found it out.
        pub places: Published,
        /// The profile's text ([`crate::profile`]), as it was when the page was made
        /// or last published. Read by a process once, when it is first gated.
        pub profile: [u8; PROFILE_MAX],
    }
}

const _: () = assert!(core::mem::size_of::<ControlPage>() == SIZE);
const _: () = assert!(core::mem::offset_of!(ControlPage, admissions) == 256);
const _: () = assert!(core::mem::offset_of!(ControlPage, profile) == 4096);

/// When a program is held: the order that the profile gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub enum Rank {
    /// `first` and `hand-over`: what it has sent, others must be free to take.
    Sender,
    /// `first`.
    First,
    /// All others.
    #[default]
    Last,
}

impl ControlPage {
    /// The barrier word of such programs.
    pub fn word(&self, rank: Rank) -> &AtomicU64 {
        match rank {
            Rank::Sender => &self.barrier_senders,
            Rank::First => &self.barrier_first,
            Rank::Last => &self.barrier,
        }
    }

    /// All three, in the order in which they are raised.
    pub fn words(&self) -> [&AtomicU64; 3] {
        [&self.barrier_senders, &self.barrier_first, &self.barrier]
    }

    /// May the region with this nonce, at this lock sequence, pass?
    ///
    /// The caller has announced itself with a locked store before it asks.
    pub fn admits(&self, nonce: u64, lock_sequence: u64) -> bool {
        self.admissions.iter().any(|place| {
            let granted = place.nonce.load(Ordering::Acquire);
            granted == nonce
                && holds(granted, place.lock_sequence.load(Ordering::Acquire), nonce, lock_sequence)
        })
    }

    /// The profile's text; empty if it is not valid UTF-8 or its length is a lie.
    ///
    /// Empty where it was refused.
    pub fn profile_text(&self) -> &str {
        let len = self.profile_len.load(Ordering::Acquire) as usize;
        self.profile.get(..len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// Was this page made from a profile with a fault? It then has none.
    pub fn profile_refused(&self) -> bool {
        self.profile_len.load(Ordering::Acquire) == PROFILE_REFUSED
    }
}

/// Does an admission granted to `granted`, for `for_sequence`, let the region
/// `nonce` pass at its present lock sequence?
pub fn holds(granted: u64, for_sequence: u64, nonce: u64, lock_sequence: u64) -> bool {
    nonce != 0
        && granted == nonce
        && (for_sequence == ANY_SEQUENCE || for_sequence == lock_sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> std::boxed::Box<ControlPage> {
        // SAFETY: every field is an integer, an atomic integer or an array of
        // them; all zero bytes are a valid value.
        unsafe { std::boxed::Box::new_zeroed().assume_init() }
    }

    #[test]
    fn an_admission_ends_when_the_lock_sequence_moves() {
        let page = page();
        page.admissions[63].nonce.store(9, Ordering::Relaxed);
        page.admissions[63].lock_sequence.store(4, Ordering::Relaxed);
        assert!(page.admits(9, 4));
        assert!(!page.admits(9, 5));
        assert!(!page.admits(8, 4));
        page.admissions[63].lock_sequence.store(ANY_SEQUENCE, Ordering::Relaxed);
        assert!(page.admits(9, 5));
        assert!(!page.admits(0, 0), "a free place admits none");
    }

    #[test]
    fn a_length_that_lies_gives_no_profile() {
        let page = page();
        assert!(!page.profile_refused());
        page.profile_len.store(PROFILE_REFUSED, Ordering::Relaxed);
        assert!(page.profile_refused());
        assert_eq!(page.profile_text(), "");
    }

    #[test]
    fn a_profile_is_what_its_length_says_and_utf_8() {
        let mut page = page();
        assert_eq!(page.profile_text(), "");
        page.profile[..5].copy_from_slice(b"a b\xff\xff");
        page.profile_len.store(3, Ordering::Relaxed);
        assert_eq!(page.profile_text(), "a b");
        page.profile_len.store(4, Ordering::Relaxed);
        assert_eq!(page.profile_text(), "");
    }

    #[test]
    fn each_rank_has_its_word_and_they_are_raised_in_order() {
        let page = page();
        let ranks = [Rank::Sender, Rank::First, Rank::Last];
        for (at, rank) in ranks.into_iter().enumerate() {
            page.word(rank).store(at as u64 + 1, Ordering::Relaxed);
        }
        assert_eq!(page.words().map(|word| word.load(Ordering::Relaxed)), [1, 2, 3]);
        assert_eq!(page.barrier.load(Ordering::Relaxed), 3);
    }
}
