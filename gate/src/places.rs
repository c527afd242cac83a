//! Which files are protected: the list that the freezer publishes, and what a process has changed
//! under its locks that no list protected.
//!
//! A process knows from its start which directories were named to it. What lies on them now, only
//! the freezer finds out, at each freeze: a directory that came later, a file system that was
//! mounted below, a subvolume. It publishes that in the control page before the barrier goes up.
//! From then on each process judges by it, beside its own list: more is held for it, never less.
//!
//! A list that grows changes what was answered before. A process that has changed, under a lock,
//! a file that no list protected has begun no section; if the new list protects that file, its
//! set may be half-done all the same. So it notes where such files lie ([`passed_by`]), and
//! while its locks last a list that has grown by such a place finds it in flight ([`in_doubt`]).

use crate::abi::{constants, shared};
use crate::word::{PERIOD_MASK, ProcessWord};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64, fence};

constants! {
    /// Changes with what the numbers in a list mean.
    pub(crate) shape SHAPE;

    /// Devices that a list can name: what is left of the page's first 4 KiB. Of a list that is
    /// longer the whole machine is protected ([`EVERYTHING`]).
    pub const DEVICES: usize = 350;

    /// Protected is whatever lies on storage: no directory was named.
    pub const ON_STORAGE: u32 = 1;
    /// Whatever lies on btrfs: each subvolume has a device of its own, and new ones come.
    pub const ON_BTRFS: u32 = 2;
    /// Whatever lies on an overlay: its files show devices of the layers.
    pub const ON_OVERLAY: u32 = 4;
    /// Every file and directory, wherever it lies.
    pub const EVERYTHING: u32 = 8;

    /// In a note, from the top: which locks it is of, ...
    const TAG_SHIFT: u32 = 56;
    /// ... a bit for each kind of file system, and below that bits for devices.
    const KINDS_SHIFT: u32 = 52;
    /// So many bits stand for a device: with one, every fiftieth would be taken for another.
    const BITS_OF_DEVICE: u32 = 3;
}

const TAG_MASK: u64 = !0 << TAG_SHIFT;
const _: () = assert!(PERIOD_MASK << TAG_SHIFT == TAG_MASK);
const _: () = assert!(KINDS_SHIFT + 4 == TAG_SHIFT && EVERYTHING < 1 << 4);

/// What separates the directories from the exclusions in a process's own list, and ends it.
/// Each list is separated by colons.
pub const NAMED_SEPARATOR: u8 = 0;

/// What kind of file system a file lies on, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// In memory, or none of files at all.
    Memory,
    /// btrfs.
    Btrfs,
    /// An overlay of others.
    Overlay,
    /// Any other that lies on storage, or cannot be asked.
    Storage,
}

impl Kind {
    /// By which words of a list a file of this kind is protected.
    const fn words(self) -> u32 {
        EVERYTHING
            | match self {
                Kind::Memory => 0,
                Kind::Btrfs => ON_STORAGE | ON_BTRFS,
                Kind::Overlay => ON_STORAGE | ON_OVERLAY,
                Kind::Storage => ON_STORAGE,
            }
    }
}

shared! {
    /// The list. One freezer writes it, under its lock, while the barrier is down.
    #[repr(C)]
    pub struct Published {
        /// 0: never published. Odd: being written. Another number: another list.
        generation: AtomicU64,
        /// `ON_*`, [`EVERYTHING`].
        words: AtomicU32,
        /// How many devices.
        count: AtomicU32,
        /// Devices, as stat shows them to the processes.
        devices: [AtomicU64; DEVICES],
    }
}

/// What the list says of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listed {
    /// Nothing was ever published.
    Never,
    /// It is protected, or the list was being written.
    Yes,
    /// It is not.
    No,
}

impl Published {
    /// Never published.
    pub const fn empty() -> Published {
        Published {
            generation: AtomicU64::new(0),
            words: AtomicU32::new(0),
            count: AtomicU32::new(0),
            devices: [const { AtomicU64::new(0) }; DEVICES],
        }
    }

    /// Is a file on this device, of such a file system, protected? The kind is asked only where
    /// it matters.
    pub fn lists(&self, dev: u64, kind: impl FnOnce() -> Kind) -> Listed {
        let generation = self.generation.load(Acquire);
        if generation == 0 {
            return Listed::Never;
        }
        if !generation.is_multiple_of(2) || self.names(dev) {
            return Listed::Yes;
        }
        let words = self.words.load(Relaxed);
        fence(Acquire);
        let same = self.generation.load(Relaxed) == generation;
        if !same || words != 0 && words & kind().words() != 0 { Listed::Yes } else { Listed::No }
    }

    fn names(&self, dev: u64) -> bool {
        let count = self.count.load(Relaxed) as usize;
        self.devices.iter().take(count).any(|listed| listed.load(Relaxed) == dev)
    }

    /// Which list this is; 0: none.
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Publishes a list; true: it is another than before. Devices are each named once, in
    /// any order.
    pub fn publish(&self, devices: &[u64], words: u32) -> bool {
        let (devices, words) = if devices.len() > DEVICES {
            (&devices[..0], words | EVERYTHING)
        } else {
            (devices, words)
        };
        let generation = self.generation.load(Acquire);
        let same = generation != 0
            && generation.is_multiple_of(2)
            && self.words.load(Relaxed) == words
            && self.count.load(Relaxed) as usize == devices.len()
            && devices.iter().all(|dev| self.names(*dev));
        if same {
            return false;
        }
        // One that was killed while it wrote has left an odd number.
        let writing = generation | 1;
        self.generation.store(writing, SeqCst);
        fence(Release);
        for (place, dev) in self.devices.iter().zip(devices) {
            place.store(*dev, Relaxed);
        }
        self.count.store(devices.len() as u32, Relaxed);
        self.words.store(words, Relaxed);
        self.generation.store(writing + 1, Release);
        true
    }

    /// The places of this list, as [`passed_by`] notes each of them. For the freezer, which wrote it.
    pub fn noted(&self) -> impl Iterator<Item = u64> + '_ {
        let there = self.generation() != 0;
        let words = if there { self.words.load(Relaxed) } else { 0 };
        let count = if there { self.count.load(Relaxed) as usize } else { 0 };
        let kinds = (0..u32::BITS).map(move |bit| words & 1 << bit).filter(|kind| *kind != 0);
        let devices = self.devices.iter().take(count);
        kinds
            .map(|kind| (kind as u64) << KINDS_SHIFT)
            .chain(devices.map(|dev| device_bits(dev.load(Relaxed))))
    }
}

/// Some of the bits below the kinds.
fn device_bits(dev: u64) -> u64 {
    let mut spread = dev.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bits = 0;
    for _ in 0..BITS_OF_DEVICE {
        bits |= 1 << ((spread >> 32) % KINDS_SHIFT as u64);
        spread = (spread ^ spread >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    bits
}

/// The place of a file that no list protects, as a process notes it.
pub fn passed_by(dev: u64, kind: Kind) -> u64 {
    device_bits(dev) | (kind.words() as u64) << KINDS_SHIFT
}

/// A note ([`crate::region::Header::passed_by`]) after `places` were added, by a process whose word
/// is this. The note was read before the word; it is replaced only if it is still that one.
/// What it held of locks that are gone is dropped.
pub fn note(note: u64, word: ProcessWord, places: u64) -> u64 {
    let tag = word.period() << TAG_SHIFT;
    let before = if note & TAG_MASK == tag { note & !TAG_MASK } else { 0 };
    tag | before | places
}

/// Is a process in flight because the list in force (`noted`: [`Published::noted`]) protects what
/// it has changed under its present locks when no list did? `note` was read after its word: one of
/// other locks says that the word is the past.
pub fn in_doubt(word: ProcessWord, note: u64, noted: impl IntoIterator<Item = u64>) -> bool {
    let of_these_locks = note & TAG_MASK == word.period() << TAG_SHIFT;
    let listed = || noted.into_iter().any(|place| note & place == place);
    word.locks() > 0 && word.passed_by() && (!of_these_locks || listed())
}

/// What a process was told at its start, as it keeps it: directories, [`NAMED_SEPARATOR`],
/// exclusions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    /// Directories that it protects.
    pub directories: &'a [u8],
    /// Files of which it judges no change.
    pub exclude: &'a [u8],
}

impl<'a> Named<'a> {
    /// Of its text; none: it is none.
    pub fn of(text: &'a [u8]) -> Option<Named<'a>> {
        let mut parts = text.split(|byte| *byte == NAMED_SEPARATOR);
        let named = Named { directories: parts.next()?, exclude: parts.next()? };
        parts.next().is_none().then_some(named)
    }

    /// The parts of one of its lists.
    pub fn parts(list: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        list.split(|byte| *byte == b':').filter(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn list() -> Published {
        Published::empty()
    }

    const STORAGE: fn() -> Kind = || Kind::Storage;
    const MEMORY: fn() -> Kind = || Kind::Memory;

    #[test]
    fn what_is_published_is_listed_and_nothing_else() {
        let list = list();
        assert_eq!(list.lists(7, STORAGE), Listed::Never);
        assert!(list.publish(&[7, 9], 0));
        assert!(!list.publish(&[9, 7], 0), "the same list is no other");
        let generation = list.generation();
        assert_eq!([7, 8, 9].map(|dev| list.lists(dev, STORAGE)), {
            use Listed::*;
            [Yes, No, Yes]
        });
        assert!(list.publish(&[7], 0));
        assert_eq!((list.lists(9, STORAGE), list.generation() > generation), (Listed::No, true));
        assert!(list.publish(&[], ON_BTRFS));
        assert_eq!(list.lists(7, || Kind::Btrfs), Listed::Yes);
        assert_eq!((list.lists(7, STORAGE), list.lists(7, MEMORY)), (Listed::No, Listed::No));
        assert!(list.publish(&[], ON_STORAGE));
        assert_eq!((list.lists(7, STORAGE), list.lists(7, MEMORY)), (Listed::Yes, Listed::No));
    }

    #[test]
    fn one_device_more_than_there_is_room_for_protects_everything() {
        let list = list();
        let devices: Vec<u64> = (1..=DEVICES as u64 + 1).collect();
        list.publish(&devices[..DEVICES], 0);
        let last = DEVICES as u64;
        assert_eq!(
            (list.lists(last, MEMORY), list.lists(last + 1, MEMORY)),
            (Listed::Yes, Listed::No)
        );
        list.publish(&devices, 0);
        assert_eq!(
            (list.lists(last + 1, MEMORY), list.lists(99_999, MEMORY)),
            (Listed::Yes, Listed::Yes)
        );
    }

    #[test]
    fn while_it_is_written_and_after_its_writer_died_everything_is_listed() {
        let list = list();
        list.publish(&[7], 0);
        list.generation.fetch_add(1, Relaxed);
        assert_eq!(list.lists(8, MEMORY), Listed::Yes);
        assert!(list.publish(&[7], 0), "the next freezer writes it anew");
        assert_eq!(list.lists(8, MEMORY), Listed::No);
    }

    #[test]
    fn a_list_that_grows_by_what_was_passed_by_is_in_doubt_until_the_locks_are_gone() {
        let list = list();
        list.publish(&[7], 0);
        let none_of = |note: u64| list.noted().all(|place| note & place == 0);
        let free = (8..99).find(|dev| none_of(passed_by(*dev, Kind::Memory))).unwrap();
        let under = ProcessWord::default().with_locks(1);
        let noted = note(0, under, passed_by(free, Kind::Storage));
        let under = under.passing_by();
        assert!(!in_doubt(under, noted, list.noted()));
        list.publish(&[7, free], 0);
        assert!(in_doubt(under, noted, list.noted()));
        assert!(in_doubt(under.with_locks(2), noted, list.noted()));
        assert!(!in_doubt(ProcessWord::default().with_locks(1), noted, list.noted()));
        let other = under.with_locks(0).with_locks(1);
        assert!(!in_doubt(other, noted, list.noted()), "another set");
        let listed = list.noted().fold(0, |all, place| all | place);
        let of_other = note(noted, other, passed_by(free, Kind::Memory) & !listed);
        assert!(!in_doubt(other.passing_by(), of_other, list.noted()), "the old note is dropped");
        assert!(
            in_doubt(other.passing_by(), noted, list.noted()),
            "the word or the note is the past"
        );
    }

    #[test]
    fn hardly_any_device_is_taken_for_another() {
        let list = list();
        list.publish(&[0x803], 0);
        let under = ProcessWord::default().with_locks(1);
        let alike = |dev: &u64| {
            let noted = note(0, under, passed_by(*dev, Kind::Memory));
            in_doubt(under.passing_by(), noted, list.noted())
        };
        // Device numbers as they are: mounts in memory count up.
        let found = (1..10_000).filter(alike).count();
        assert!(found <= 20, "{found} of 10,000");
    }

    #[test]
    fn what_lies_in_memory_is_never_in_doubt_where_only_storage_is_protected() {
        let list = list();
        list.publish(&[], ON_STORAGE);
        let under = ProcessWord::default().with_locks(1).passing_by();
        assert!(!in_doubt(under, passed_by(30, Kind::Memory), list.noted()));
        assert!(in_doubt(under, passed_by(30, Kind::Storage), list.noted()));
        list.publish(&[], EVERYTHING);
        assert!(in_doubt(under, passed_by(30, Kind::Memory), list.noted()));
    }

    #[test]
    fn a_list_of_names_is_two() {
        let named = Named::of(b"/a:/b:\0*.log").unwrap();
        assert!(Named::parts(named.directories).eq([b"/a" as &[u8], b"/b"]));
        assert_eq!(named.exclude, b"*.log");
        assert_eq!(Named::of(b"/a"), None);
        assert_eq!(Named::of(b"/a\0b\0c"), None);
    }
}
