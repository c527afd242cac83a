//! What one pass makes of all regions: what is in flight, what is held, whether a call passed.

use crate::admission::{Admission, Grant, candidate, must_revoke, outstanding};
use crate::control::Rank;
use crate::scratch::Scratch;
use crate::view::ProcessView;
use crate::word::Doing;

/// What one pass over all regions saw. [`summarize`] makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Summary {
    /// Over the entries that passed, of every thread of every region: equal
    /// digests mean that no call passed.
    pub digest: u64,
    /// Over every word of those in flight: equal means that they are stuck.
    pub stuck_digest: u64,
    /// Processes in flight.
    pub in_flight: u32,
    /// Those of them that are held first, senders included.
    pub first_in_flight: u32,
    /// Those that hand over and are held before all.
    pub senders_in_flight: u32,
    /// Over every word of all others: equal means that none of them has done anything.
    pub others: u64,
    /// All others have been seen to wait one by one since the first ones did (the caller's
    /// judgement, by [`crate::quiesce`]: no word shows that a thread is on its way to a call).
    pub quiesced: bool,
    /// Processes inside a call, or about to be.
    pub calling: u32,
    /// Threads held at the barrier.
    pub held: u32,
    /// Grants that still hold (see [`crate::control::AdmissionSlot`]).
    pub outstanding: u32,
    /// Some outstanding admission is a child's of an owner with its section over.
    pub revocable: bool,
    /// One that is held and that something in flight waits for.
    pub candidate: Option<Admission>,
}

/// One step of a digest: order and every bit matter.
fn mix(digest: u64, value: u64) -> u64 {
    let mixed = (digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_add(0x632b_e59b_d9b4_e019)
}

/// What one pass saw.
///
/// Equal digests of two passes mean that no entry passed in between (but for a
/// collision of 64 bits, one in 10^19). Processes and threads that have done
/// nothing add nothing to it, so that one that arrives at the closed barrier, a
/// new thread or a new process, takes nothing away from a verdict.
pub fn summarize(
    processes: &[ProcessView<'_>],
    grants: &[Grant],
    scratch: &mut Scratch<'_>,
) -> Summary {
    let mut summary = Summary::default();
    for p in processes {
        let entries = p.threads.iter().map(|t| t.word.sequence() as u64);
        for (number, count) in [p.overflow_entries].into_iter().chain(entries).enumerate() {
            if count != 0 {
                let of_one = mix(mix(mix(0, p.nonce), number as u64), count);
                summary.digest = summary.digest.wrapping_add(of_one);
            }
        }
        summary.held += p.threads.iter().filter(|t| t.word.doing() == Doing::Held).count() as u32;
        summary.calling += p.is_calling() as u32;
        if p.rank == Rank::Last {
            summary.others = mix(mix(summary.others, p.nonce), p.process.0);
            for thread in p.threads {
                summary.others = mix(summary.others, thread.word.0);
            }
        }
        if p.in_flight() {
            summary.in_flight += 1;
            summary.senders_in_flight += (p.rank == Rank::Sender) as u32;
            summary.first_in_flight += (p.rank != Rank::Last) as u32;
            let beside = [p.unknown, p.unaccounted_lock, p.in_doubt].map(u64::from);
            for value in [p.nonce, p.process.0, p.lock_sequence].into_iter().chain(beside) {
                summary.stuck_digest = mix(summary.stuck_digest, value);
            }
            for thread in p.threads {
                summary.stuck_digest = mix(summary.stuck_digest, thread.word.0);
            }
        }
    }
    summary.stuck_digest = mix(summary.stuck_digest, summary.digest);
    summary.outstanding = grants.iter().filter(|g| outstanding(g, processes)).count() as u32;
    summary.revocable =
        grants.iter().any(|g| outstanding(g, processes) && must_revoke(g, processes));
    summary.candidate = candidate(processes, grants, scratch);
    summary
}

#[cfg(test)]
pub(crate) mod samples {
    //! A pass with room of its own, for the tests of this crate.
    use super::*;

    pub fn summarize(processes: &[ProcessView<'_>], grants: &[Grant]) -> Summary {
        let (places, holders) = Scratch::needs(processes);
        let mut places = std::vec![Default::default(); places];
        let mut holders = std::vec![Default::default(); holders];
        let scratch = Scratch::for_pass(processes, &mut places, &mut holders);
        super::summarize(processes, grants, &mut scratch.unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::samples::summarize;
    use super::*;
    use crate::view::ThreadView;
    use crate::view::samples::*;
    use crate::word::{ProcessWord, ThreadWord};

    #[test]
    fn a_process_without_a_region_is_in_flight() {
        assert_eq!(summarize(&[process(0, ProcessWord::default())], &[]).in_flight, 1);
    }

    #[test]
    fn a_lock_that_no_region_accounts_for_is_in_flight() {
        let unaccounted =
            ProcessView { unaccounted_lock: true, ..process(1, ProcessWord::default()) };
        let (seen, idle) =
            (summarize(&[unaccounted], &[]), summarize(&[process(1, ProcessWord::default())], &[]));
        assert_eq!((seen.in_flight, idle.in_flight), (1, 0));
        assert_eq!(seen.digest, idle.digest, "no call passed by it");
        assert_ne!(seen.stuck_digest, idle.stuck_digest);
    }

    #[test]
    fn arrivals_at_the_barrier_take_nothing_from_a_verdict() {
        let done = ThreadWord::default().enter(Doing::Call, 1, None).leave();
        let one = |word| ThreadView { word, waits_for: None, disregarded: false };
        let before = [one(done)];
        let after = [
            one(done.enter(Doing::Call, 1, None).retract(Doing::Held)),
            one(ThreadWord::default().enter(Doing::Call, 1, None).retract(Doing::Held)),
        ];
        let drained = summarize(
            &[ProcessView { threads: &before, ..process(1, ProcessWord::default()) }],
            &[],
        );
        let held =
            ProcessView { threads: &after, ..process(1, ProcessWord::default().with_locks(1)) };
        let newcomer = ProcessView { threads: &after[1..], ..process(2, ProcessWord::default()) };
        let thaw = summarize(&[held, newcomer], &[]);
        assert_eq!((thaw.digest, thaw.calling), (drained.digest, 0));
        let passed = [one(done.enter(Doing::Call, 1, None).leave())];
        let passed = ProcessView { threads: &passed, ..process(1, ProcessWord::default()) };
        assert_ne!(summarize(&[passed], &[]).digest, drained.digest);
    }

    #[test]
    fn a_child_that_has_done_nothing_is_not_in_flight() {
        let child = ProcessView { fresh_fork: true, ..process(0, ProcessWord::default()) };
        assert_eq!(summarize(&[child], &[]).in_flight, 0);
    }

    /// The value that [`mix`] has put into a digest, taken out again.
    fn unmixed(mixed: u64, digest: u64) -> u64 {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let shifted = mixed.wrapping_sub(0x632b_e59b_d9b4_e019);
        let product = shifted ^ shifted >> 29 ^ shifted >> 58;
        let closer = |inverse: u64, _| {
            inverse.wrapping_mul(2_u64.wrapping_sub(FACTOR.wrapping_mul(inverse)))
        };
        product.wrapping_mul((0..6).fold(1, closer)) ^ digest
    }

    #[test]
    fn a_digest_forgets_no_bit_of_what_is_put_into_it() {
        let some = [0, 1, 7, 1 << 31, 1 << 32, 1 << 63, 0x0123_4567_89ab_cdef, u64::MAX];
        for digest in some {
            for value in some {
                assert_eq!(unmixed(mix(digest, value), digest), value, "{digest:x} {value:x}");
            }
        }
    }

    #[test]
    fn threads_without_a_slot_count_in_the_digest() {
        let idle = process(1, ProcessWord::default());
        let entered = |overflow_entries| ProcessView { overflow_entries, ..idle };
        let digest = |of| summarize(&[of], &[]).digest;
        assert_ne!(digest(entered(1)), digest(idle));
        assert_ne!(digest(entered(1)), digest(entered(2)));
        let threads = [ThreadView {
            word: ThreadWord::default().enter(Doing::Call, 1, None).leave(),
            waits_for: None,
            disregarded: false,
        }];
        let in_a_slot = digest(ProcessView { threads: &threads, ..idle });
        assert_ne!(digest(entered(1)), in_a_slot, "another thread's entry");
        let others = digest(ProcessView { overflow_entries: 1, ..process(2, idle.process) });
        assert_ne!(digest(entered(1)), others, "another process's entry");
    }

    #[test]
    fn what_is_counted_is_counted_by_rank() {
        let call = [thread(Doing::Call, None)];
        let held =
            [thread(Doing::Held, None), thread(Doing::Idle, None), thread(Doing::Held, None)];
        let busy = |nonce, rank| ProcessView {
            rank,
            threads: &call,
            ..process(nonce, ProcessWord::default())
        };
        let waits = |nonce| ProcessView { threads: &held, ..process(nonce, in_section()) };
        let seen = summarize(
            &[
                busy(1, Rank::Sender),
                busy(2, Rank::First),
                busy(3, Rank::First),
                busy(4, Rank::Last),
                waits(5),
                waits(6),
                waits(7),
                process(8, ProcessWord::default()),
            ],
            &[],
        );
        assert_eq!((seen.senders_in_flight, seen.first_in_flight, seen.in_flight), (1, 3, 7));
        assert_eq!((seen.calling, seen.held), (4, 6));
    }

    #[test]
    fn the_others_digest_is_over_every_word_of_all_that_are_not_held_first() {
        let idle = process(1, ProcessWord::default());
        let others = |of| summarize(&[process(9, ProcessWord::default()), of], &[]).others;
        let (first, second) = ([thread(Doing::Idle, None)], [thread(Doing::Held, None)]);
        let with = |threads| ProcessView { threads, ..idle };
        let all = [
            others(idle),
            others(process(2, ProcessWord::default())),
            others(process(1, in_section())),
            others(with(&first)),
            others(with(&second)),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}: {all:x?}");
        }
        let one_first = ProcessView { rank: Rank::First, ..with(&first) };
        assert_eq!(others(one_first), others(ProcessView { threads: &second, ..one_first }));
        assert_ne!(others(one_first), others(with(&first)), "that one counts");
    }

    #[test]
    fn whatever_changes_of_those_in_flight_they_are_not_stuck() {
        let idle = process(1, ProcessWord::default());
        let call = [thread(Doing::Call, None)];
        let bits = |n: u8| ProcessView {
            unknown: n & 1 != 0,
            unaccounted_lock: n & 2 != 0,
            in_doubt: n & 4 != 0,
            ..idle
        };
        let mut all: std::vec::Vec<_> = (0..8).map(bits).collect();
        all.push(process(2, in_section()));
        all.push(process(1, in_section()));
        all.push(ProcessView { lock_sequence: 6, ..process(1, in_section()) });
        all.push(ProcessView { threads: &call, ..idle });
        all.push(ProcessView { threads: &call, ..process(1, in_section()) });
        let digests: std::vec::Vec<_> =
            all.iter().map(|one| summarize(&[*one], &[]).stuck_digest).collect();
        for (at, digest) in digests.iter().enumerate() {
            assert!(!digests[..at].contains(digest), "{:?}", all[at]);
        }
        let other = ProcessView { lock_sequence: 6, ..idle };
        assert_eq!(summarize(&[other], &[]).stuck_digest, digests[0], "that one is not in flight");
    }
}
