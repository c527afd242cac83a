//! Regions of any words, read as a pass of the freezer reads them, judged, and read again while another thread
//! changes them.
#![no_main]

use gate::abi::Foreign;
use gate::claimed::ClaimedRegion;
use gate::region::{MAGIC, SIZE};
use gate::scratch::{Holder, Place, Scratch};
use gate::summary::summarize;
use gate::word::{ProcessWord, ThreadWord};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use writegate_fuzz::census::member::Member;
use writegate_fuzz::census::region::MappedRegion;
use writegate_fuzz::drive::reading::Reading;
use writegate_fuzz::linux::foreign::anonymous_file;
use writegate_fuzz::linux::mapping::Mapping;
use writegate_fuzz::linux::procfs::stat;

const PROCESSES: usize = 3;
/// Process, place, value.
const POKE: usize = 1 + 3 + 8;
/// Most pokes reach the header or the first slots, where most is decided.
const NEAR: u32 = 4096 + 64 * 8;

struct World {
    files: Vec<OwnedFd>,
    members: Vec<Member>,
    reading: Reading,
    room: (Vec<Place>, Vec<Holder>),
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

impl World {
    fn new() -> World {
        let files: Vec<OwnedFd> = (0..PROCESSES).map(|_| anonymous_file(SIZE).unwrap()).collect();
        let members = files.iter().enumerate().map(|(at, file)| member(at, file)).collect();
        World { files, members, reading: Reading::default(), room: Default::default() }
    }
}

fn member(at: usize, file: &OwnedFd) -> Member {
    let pid = at as i32 + 10;
    let stat = format!("{pid} (fuzz) S{}", " 1".repeat(49));
    Member {
        view: Some(MappedRegion::new(file, false).unwrap()),
        nonce: at as u64 + 1,
        parent: at.checked_sub(1),
        ..Member::new(pid, stat::parse(&stat).unwrap())
    }
}

fn poke(maps: &mut [Mapping], poke: &[u8]) {
    let number = u32::from_le_bytes([poke[1], poke[2], poke[3], 0]);
    let at = if number & 7 == 0 { number % (SIZE as u32 - 8) } else { number % NEAR } as usize;
    let map = &mut maps[poke[0] as usize % PROCESSES];
    map.bytes_mut().expect("writable")[at..at + 8].copy_from_slice(&poke[4..POKE]);
}

fn read_all(world: &mut World) {
    world.reading.read(&mut world.members, std::iter::empty());
    let views = world.reading.views();
    let (places, holders) = Scratch::needs(&views);
    world.room.0.resize(world.room.0.len().max(places), Place::default());
    world.room.1.resize(world.room.1.len().max(holders), Holder::default());
    let scratch = Scratch::for_pass(&views, &mut world.room.0, &mut world.room.1);
    let summary = summarize(&views, &[], &mut scratch.expect("it was made as large as it must be"));
    assert!(summary.in_flight as usize <= PROCESSES);
    for member in &world.members {
        let view = member.view.as_ref().expect("it was given one");
        let header = view.header();
        let _ = (
            header.check(member.pid),
            ProcessWord(header.process.load(Relaxed)).locks(),
            view.strong(),
            member.rank(),
        );
        let _ = (member.announces_exec(), member.is_cut_by_death(), member.was_overdue());
        for slot in view.slots() {
            let word = ThreadWord(slot.word.load(Relaxed));
            let _ = (word.doing(), word.call(), word.sequence());
        }
        for lock in view.claimed().locks() {
            let _ = view.claimed().dotlock_path(lock.dev, lock.ino).map(|path| path.bytes().len());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    WORLD.with_borrow_mut(|world| {
        let mut maps: Vec<Mapping> =
            world.files.iter().map(|file| Mapping::new(file, SIZE, true).unwrap()).collect();
        for map in &mut maps {
            let bytes = map.bytes_mut().expect("writable");
            bytes[..NEAR as usize].fill(0);
            bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        }
        let pokes: Vec<&[u8]> = data.chunks_exact(POKE).collect();
        let (before, while_read) = pokes.split_at(pokes.len() / 2);
        before.iter().for_each(|bytes| poke(&mut maps, bytes));
        read_all(world);
        // Cut off anywhere: what does not lie within is not read.
        let cut = data.first().map_or(0, |byte| *byte as usize * SIZE / 255);
        // SAFETY: mapped, longer than this, and what is written there are the atomics that `Foreign` hands out.
        let cut_off = unsafe { Foreign::new(maps[0].address() as *const u8, cut) };
        if let Some(claimed) = ClaimedRegion::of(cut_off) {
            let _ = (claimed.slots().len(), claimed.locks().count());
        }
        if !while_read.is_empty() && data[0] % 16 == 0 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while_read.iter().cycle().take(400).for_each(|bytes| poke(&mut maps, bytes))
                });
                read_all(world);
                read_all(world);
            });
        } else {
            while_read.iter().for_each(|bytes| poke(&mut maps, bytes));
            read_all(world);
        }
    });
});
