//! A list of protected places that grows while locks are held: every interleaving of a process with
//! two threads and a freezer that publishes, closes and passes.
//!
//! Each thread takes a lock of its own, changes two files that belong together (and one elsewhere), and
//! gives the lock up.
//! No list protects them at first; the freezer's does. A snapshot must hold both of a thread's files or
//! none. What decides is shipped: [`gate::places`] and [`gate::word::ProcessWord`]; the order of steps
//! is that of `preload/src/protected/passed_by.rs`, `preload/src/this_process/lock_table.rs` and
//! `src/drive/`. Rules are left out one at a time: each must be found out.

use gate::places::{Kind, Listed, Published, in_doubt, note, passed_by};
use gate::word::ProcessWord;
use std::collections::HashSet;

/// Where each change of a thread lies: two that belong together, and one that no list ever protects.
const CHANGES: [[u64; 3]; 2] = [[DEVICE, ELSEWHERE, DEVICE], [ELSEWHERE, DEVICE, DEVICE]];
const DEVICE: u64 = 7;
const ELSEWHERE: u64 = 9;

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// Nothing is noted.
    NoNote,
    /// The freezer looks at notes when it publishes, and not again.
    LooksBeforeClosing,
    /// A note replaces one that was made since it was read.
    NoteNotCompared,
    /// No fence after the closing.
    NoFence,
}

/// Where a thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum At {
    Locks,
    /// Counting its locks: the word as it was read, and how many were counted.
    Counts(Option<(u64, u16)>),
    /// The change is not announced yet.
    Announces,
    Looks,
    Judges,
    Notes,
    ReadsWord(u64),
    PutsDown(u64, u64),
    SaysSo(u64),
    Begins,
    Writes,
    Leaves,
    Held,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
struct Thread {
    at: At,
    holds: bool,
    /// Files changed.
    changed: u8,
    /// It has announced a call, and everybody can see that.
    announced: bool,
    shown: bool,
    /// Entries that passed.
    passed: u8,
}

/// Where the freezer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Freezer {
    Publishes,
    Closes,
    Fences,
    /// Passing: which word is read next, and what was seen so far.
    Reads(u8, Seen),
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
struct Seen {
    calling: bool,
    passed: [u8; 2],
    word: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
struct State {
    threads: [Thread; 2],
    word: ProcessWord,
    note: u64,
    listed: bool,
    closed: bool,
    freezer: Freezer,
    /// What the last pass saw, if nothing was in flight.
    before: Option<[u8; 2]>,
    /// In doubt when the list was published (for the fault that looks only then).
    doubted: bool,
}

/// Does the snapshot hold one of two changes that belong together?
fn torn(state: &State) -> bool {
    let made = |(thread, places): (&Thread, &[u64; 3])| {
        places.iter().take(usize::from(thread.changed)).filter(|place| **place == DEVICE).count()
    };
    state.threads.iter().zip(&CHANGES).any(|thread| made(thread) == 1)
}

struct World {
    fault: Fault,
    lists: [Published; 2],
}

impl World {
    fn new(fault: Fault) -> World {
        let lists = [Published::empty(), Published::empty()];
        lists[0].publish(&[DEVICE + 1], 0);
        lists[1].publish(&[DEVICE + 1, DEVICE], 0);
        World { fault, lists }
    }

    fn list(&self, state: &State) -> &Published {
        &self.lists[usize::from(state.listed)]
    }

    fn thread(&self, state: &State, t: usize) -> Option<State> {
        let mut next = state.clone();
        let thread = state.threads[t];
        let mine = &mut next.threads[t];
        let under_way = |changed: u8| {
            if usize::from(changed) == CHANGES[t].len() { At::Locks } else { At::Announces }
        };
        match thread.at {
            At::Locks => {
                // Takes it, or gives it up after both changes.
                mine.holds = thread.changed == 0;
                mine.at = At::Counts(None);
            }
            At::Counts(None) => {
                let held = next.threads.iter().filter(|thread| thread.holds).count() as u16;
                next.threads[t].at = At::Counts(Some((state.word.0, held)));
            }
            At::Counts(Some((word, held))) if word == state.word.0 => {
                next.word = state.word.with_locks(held);
                mine.at = if thread.changed > 0 { At::Ended } else { At::Announces };
                // A locked operation: what was stored before can be seen.
                next.threads[t].shown = next.threads[t].announced;
            }
            At::Counts(Some(_)) => mine.at = At::Counts(None),
            At::Announces => {
                mine.announced = true;
                mine.at = At::Looks;
            }
            At::Looks => {
                if state.closed {
                    mine.shown = true;
                }
                mine.at = At::Judges;
                // Nothing more is to be begun.
                if state.word.section_open() {
                    mine.passed += 1;
                    mine.at = At::Writes;
                }
            }
            At::Judges => {
                let device = CHANGES[t][usize::from(thread.changed)];
                let listed = self.list(state).lists(device, || Kind::Storage) == Listed::Yes;
                mine.at = match (listed, state.closed && thread.shown) {
                    (true, true) => At::Held,
                    (true, false) => At::Begins,
                    (false, _) if self.fault == Fault::NoNote => At::Writes,
                    (false, _) => At::Notes,
                };
                match mine.at {
                    At::Held => (mine.announced, mine.shown) = (false, false),
                    _ => mine.passed += 1,
                }
            }
            At::Notes => mine.at = At::ReadsWord(state.note),
            At::ReadsWord(_) if state.word.locks() == 0 => mine.at = At::Writes,
            At::ReadsWord(known) => mine.at = At::PutsDown(known, state.word.0),
            At::PutsDown(known, word) => {
                mine.shown = true;
                mine.at = At::Notes;
                if known == state.note || self.fault == Fault::NoteNotCompared {
                    let device = CHANGES[t][usize::from(thread.changed)];
                    let place = passed_by(device, Kind::Storage);
                    mine.at = At::SaysSo(word);
                    next.note = note(known, ProcessWord(word), place);
                }
            }
            At::SaysSo(word) => {
                mine.at = At::Notes;
                if word == state.word.0 {
                    next.word = state.word.passing_by();
                    mine.at = At::Writes;
                }
            }
            At::Begins => {
                next.word = state.word.section_begun();
                mine.shown = true;
                mine.at = At::Writes;
            }
            At::Writes => {
                mine.changed += 1;
                mine.at = At::Leaves;
            }
            At::Leaves => {
                (mine.announced, mine.shown) = (false, false);
                mine.at = under_way(thread.changed);
            }
            At::Held if !state.closed => mine.at = At::Announces,
            At::Held | At::Ended => return None,
        }
        Some(next)
    }

    /// Err: the snapshot that is taken now is torn.
    fn freezer(&self, state: &State) -> Result<Vec<State>, State> {
        let mut next = state.clone();
        match state.freezer {
            Freezer::Publishes => {
                next.listed = true;
                next.doubted = in_doubt(state.word, state.note, self.lists[1].noted());
                next.freezer = Freezer::Closes;
            }
            Freezer::Closes => {
                next.closed = true;
                next.freezer = Freezer::Fences;
            }
            Freezer::Fences => {
                if self.fault != Fault::NoFence {
                    next.threads.iter_mut().for_each(|thread| thread.shown = thread.announced);
                }
                next.freezer = Freezer::Reads(0, Seen::default());
            }
            Freezer::Reads(t @ (0 | 1), mut seen) => {
                let thread = &state.threads[usize::from(t)];
                seen.calling |= thread.shown;
                seen.passed[usize::from(t)] = thread.passed;
                next.freezer = Freezer::Reads(t + 1, seen);
            }
            Freezer::Reads(2, mut seen) => {
                seen.word = state.word.0;
                next.freezer = Freezer::Reads(3, seen);
            }
            Freezer::Reads(_, seen) => {
                let word = ProcessWord(seen.word);
                let doubt = match self.fault {
                    Fault::LooksBeforeClosing => state.doubted && word.passed_by(),
                    _ => in_doubt(word, state.note, self.lists[1].noted()),
                };
                if seen.calling || word.section_open() || doubt {
                    next.before = None;
                    next.freezer = Freezer::Reads(0, Seen::default());
                    // Or the time is up: nothing is claimed.
                    let mut gives_up = next.clone();
                    gives_up.freezer = Freezer::Ended;
                    gives_up.closed = false;
                    return Ok(vec![next, gives_up]);
                }
                if state.before == Some(seen.passed) {
                    return if torn(state) { Err(next) } else { Ok(Vec::new()) };
                }
                next.before = Some(seen.passed);
                next.freezer = Freezer::Reads(0, Seen::default());
            }
            Freezer::Ended => return Ok(Vec::new()),
        }
        Ok(vec![next])
    }

    /// A store that was made becomes visible.
    fn stores(state: &State) -> impl Iterator<Item = State> + use<'_> {
        let waiting = (0..2).filter(|t| state.threads[*t].announced && !state.threads[*t].shown);
        waiting.map(|t| {
            let mut next = state.clone();
            next.threads[t].shown = true;
            next
        })
    }

    /// Goes through every interleaving: how many states, or a torn snapshot.
    fn explore(&self) -> Result<usize, State> {
        let start = Thread {
            at: At::Locks,
            holds: false,
            changed: 0,
            announced: false,
            shown: false,
            passed: 0,
        };
        let first = State {
            threads: [start; 2],
            word: ProcessWord::default(),
            note: 0,
            listed: false,
            closed: false,
            freezer: Freezer::Publishes,
            before: None,
            doubted: false,
        };
        let (mut known, mut open) = (HashSet::from([first.clone()]), vec![first]);
        let mut drained = 0;
        while let Some(state) = open.pop() {
            let by_freezer = self.freezer(&state)?;
            drained += usize::from(by_freezer.is_empty() && state.freezer != Freezer::Ended);
            let by_threads = (0..2).filter_map(|t| self.thread(&state, t));
            for next in by_freezer.into_iter().chain(by_threads).chain(World::stores(&state)) {
                if known.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        assert!(drained > 0, "some interleaving ends with a snapshot");
        Ok(known.len())
    }
}

#[test]
fn a_list_that_grows_tears_no_set() {
    match World::new(Fault::None).explore() {
        Ok(states) => println!("{states} states"),
        Err(torn) => panic!("torn: {torn:#?}"),
    }
}

#[test]
fn each_rule_left_out_is_found_out() {
    let faults = [Fault::NoNote, Fault::LooksBeforeClosing, Fault::NoteNotCompared, Fault::NoFence];
    let unfound: Vec<Fault> =
        faults.into_iter().filter(|fault| World::new(*fault).explore().is_ok()).collect();
    assert_eq!(unfound, []);
}
