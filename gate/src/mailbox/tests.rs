//! Tests of the mailbox. A draft that is neither sent nor freed is what a killed process leaves.

use super::*;
use core::sync::atomic::AtomicI32;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;
use std::{thread, vec};

const PARENT: i32 = 100;
const FILE: About = About::File(1, 7);

fn mailbox() -> Box<Mailbox> {
    // SAFETY: atomics, of which all zero bytes are an empty mailbox.
    unsafe { Box::new_zeroed().assume_init() }
}

/// Ids below 1000 live.
fn gone(pid: i32) -> bool {
    pid >= 1000
}

fn write<'a>(mailbox: &'a Mailbox, own: i32, text: &[u8]) -> Option<Draft<'a>> {
    let mut draft = mailbox.draft(own, gone)?;
    draft.push(text);
    Some(draft)
}

fn send(mailbox: &Mailbox, own: i32, text: &[u8]) -> bool {
    let sent = write(mailbox, own, text).and_then(|d| d.send(Some(From::Child(own)), 0, FILE));
    sent.is_some()
}

fn taken(mailbox: &Mailbox, child: i32) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    mailbox.take(From::Child(child), PARENT, |message| texts.push(message.text().collect()));
    texts
}

/// How many texts of one place still fit.
fn room(mailbox: &Mailbox) -> usize {
    (0..=PLACES).take_while(|_| send(mailbox, 1, b"x")).count()
}

#[test]
fn a_message_is_taken_out_once_and_by_its_childs_end() {
    let mailbox = mailbox();
    let long = vec![b'l'; 5 * places::TEXT + 3];
    assert!(send(&mailbox, 1, b"/m/x.lock") && send(&mailbox, 2, &long));
    assert!(taken(&mailbox, 3).is_empty());
    assert_eq!(taken(&mailbox, 2), [long]);
    assert_eq!(taken(&mailbox, 1), [b"/m/x.lock"]);
    assert!(taken(&mailbox, 1).is_empty() && !mailbox.is_used());
    assert_eq!(room(&mailbox), PLACES);
}

#[test]
fn one_that_does_not_fit_leaves_nothing() {
    let mailbox = mailbox();
    assert!(!send(&mailbox, 1, &vec![b'x'; PLACES * places::TEXT + 1]));
    assert!(!mailbox.is_used());
    assert_eq!(room(&mailbox), PLACES);
    assert!(mailbox.draft(1, gone).is_none(), "full");
}

#[test]
fn what_the_killed_had_claimed_comes_back() {
    for len in [0, 1, places::TEXT, places::TEXT + 1, 3 * places::TEXT] {
        let mailbox = mailbox();
        let text = vec![b'd'; len];
        // Nobody is asked about before the mailbox is full.
        let killed = (1000..).take_while(|pid| {
            let is_room = mailbox.places.claim(*pid).is_some();
            if is_room {
                let _ = write(&mailbox, *pid, &text);
            }
            is_room && *pid < 1000 + 2 * PLACES as i32
        });
        assert!(killed.count() >= PLACES / 5);
        assert_eq!(room(&mailbox), PLACES, "{len} bytes");
    }
}

#[test]
fn what_the_living_have_claimed_stays() {
    let mailbox = mailbox();
    let alive = write(&mailbox, 5, &vec![b'a'; 2 * places::TEXT]).unwrap();
    assert_eq!(room(&mailbox), PLACES - 2);
    assert!(alive.send(Some(From::Child(5)), 0, FILE).is_some());
    assert_eq!(taken(&mailbox, 5), [vec![b'a'; 2 * places::TEXT]]);
}

#[test]
fn the_rest_of_a_message_is_its_own_though_its_writer_has_ended() {
    let mailbox = mailbox();
    let text: Vec<u8> = (0..9 * places::TEXT).map(|at| at as u8).collect();
    // For one whose id is not known yet: a command's writer is another than its child.
    let ticket = write(&mailbox, 1500, &text).unwrap().send(None, PARENT, FILE).unwrap();
    assert_eq!(room(&mailbox), PLACES - 9);
    mailbox.assign(ticket, From::Child(6));
    mailbox.places.reclaim(PARENT, gone);
    assert_eq!(taken(&mailbox, 6), [text]);
}

#[test]
fn one_at_a_time_takes_back_and_one_that_is_killed_is_followed() {
    let mailbox = mailbox();
    for at_it in [7, 1007] {
        assert!(mailbox.places.claim(2000).is_some());
        mailbox.places.reclaimer().store(at_it, Relaxed);
        mailbox.places.reclaim(PARENT, gone);
        assert_eq!(mailbox.places.reclaimer().load(Relaxed), if at_it == 7 { 7 } else { 0 });
    }
    assert_eq!(room(&mailbox), PLACES);
}

#[test]
fn what_a_reader_is_about_to_take_over_is_no_dead_writers() {
    let mailbox = mailbox();
    assert!(send(&mailbox, 2000, &vec![b't'; 4 * places::TEXT]));
    let (first, _) = mailbox.places.used().next().unwrap();
    assert!(mailbox.places.take_first(first, 5));
    assert_eq!(room(&mailbox), PLACES - 4);
}

#[test]
fn a_reader_that_is_killed_leaves_nothing_behind() {
    let mailbox = mailbox();
    let text = vec![b'r'; 4 * places::TEXT];
    for steps in 0..=4 {
        assert!(send(&mailbox, 6, &text));
        let (first, _) = mailbox.places.used().next().unwrap();
        // Having taken over so many places, or given them back.
        assert!(mailbox.take_out(first, 2000).is_some());
        let mut number = first;
        for _ in 0..steps {
            let next = mailbox.places.chain(number).nth(1).map_or(0, |(next, _)| next);
            mailbox.places.free_one(number);
            number = next;
        }
        let alone = mailbox.places.chain(number).count();
        assert_eq!(alone, 4 - steps);
        mailbox.places.reclaim(PARENT, gone);
    }
    assert_eq!(room(&mailbox), PLACES);
}

#[test]
fn the_dead_are_forgotten_and_whoever_waits_is_told() {
    let mailbox = mailbox();
    for pid in 0..PLACES as i32 {
        assert!(send(&mailbox, 3000 + pid, b"left"));
    }
    assert!(send(&mailbox, 1, b"x"));
    assert_eq!(taken(&mailbox, 1).len(), 1);
    assert!(mailbox.is_used() && mailbox.take_lost(3000) && !mailbox.take_lost(3000));
}

/// Writers that are killed at any place, readers, and full mailboxes, side by side: no text is
/// another's, none gets lost, and in the end all places are free.
#[test]
fn no_text_is_anothers_while_the_dead_are_taken_from() {
    const WRITERS: i32 = 3;
    const ROUNDS: i32 = if cfg!(miri) { 20 } else { 1500 };
    /// The ids below which all are gone, of each writer: each message has a writer of its own.
    static ALIVE: [AtomicI32; WRITERS as usize] = [const { AtomicI32::new(0) }; WRITERS as usize];
    fn gone(pid: i32) -> bool {
        let (writer, round) = (pid % 4, pid / 4);
        writer > 0
            && ALIVE.get(writer as usize - 1).is_some_and(|alive| round < alive.load(Acquire))
    }
    let mailbox: Arc<Mailbox> = Arc::from(mailbox());
    let writers = (1..=WRITERS).map(|writer| {
        let mailbox = Arc::clone(&mailbox);
        thread::spawn(move || {
            for round in 0..ROUNDS {
                let own = 4 * round + writer;
                let text = vec![round as u8; (round * 37 % (30 * places::TEXT as i32)) as usize];
                // Full, and another is taking back: then it does not fit.
                let Some(mut draft) = mailbox.draft(own, gone) else { continue };
                draft.push(&text);
                let killed = round % 3 == 0;
                if !killed && let Some(ticket) = draft.send(None, 4 * WRITERS, FILE) {
                    let same = |message: &Message| message.text().eq(text.iter().copied());
                    let mut seen = false;
                    ALIVE[writer as usize - 1].store(round + 1, Release);
                    mailbox.take_kept(ticket, 4, |message| seen = same(message));
                    assert!(seen, "round {round}");
                }
                ALIVE[writer as usize - 1].store(round + 1, Release);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.join().unwrap();
    }
    mailbox.places.reclaim(PARENT, gone);
    assert!(!mailbox.is_used());
    assert_eq!(room(&mailbox), PLACES);
}
