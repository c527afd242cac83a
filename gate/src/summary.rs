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
            let beside =
                p.unknown as u64 | (p.unaccounted_lock as u64) << 1 | (p.in_doubt as u64) << 2;
            for value in [p.nonce, p.process.0, p.lock_sequence, beside] {
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
}
