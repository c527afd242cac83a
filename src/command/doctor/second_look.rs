//! The doctor's look, twice where it must be: a process that is met in the middle of its start, its exec or its end shows
//! what it is not. What speaks against one counts if it does so in two looks, or beyond doubt.

use super::diagnosis::{Cause, Diagnosis, Membership};
use super::observation::Observation;
use super::selection::Selection;
use super::survey::Survey;
use crate::linux::look::Look;
use crate::linux::procfs;
use crate::outcome::fault::Result;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// At most. A server that starts processes all the time may show one in its start at each.
const LOOKS: usize = 6;
/// Longer than a start takes, also on a busy machine.
const PAUSE: Duration = Duration::from_millis(150);

/// As [`Survey::of`].
pub fn survey(selection: &Selection, gate: Option<&str>, root: &Path) -> Result<Survey> {
    let mut survey = Survey::of(selection, gate, root)?;
    let (first, mut sure) = (doubts(&survey), Vec::new());
    let again = || {
        let faults = survey.processes.iter().filter(|(_, diagnosis)| is_fault(diagnosis));
        sure.extend(faults.filter(|(process, found)| is_sure(process, found)).cloned());
        survey = Survey::of(selection, gate, root)?;
        Ok(doubts(&survey))
    };
    let counts = settled(first, again, |processes| {
        sleep(PAUSE);
        processes.retain(|process| is_there(*process));
    })?;
    survey.processes.retain(|seen| !is_doubtful(seen) || counts.contains(&name(&seen.0)));
    // Gone by now, and was not gated.
    for (process, diagnosis) in sure {
        if !survey.processes.iter().any(|(other, _)| other.pid == process.pid) {
            survey.processes.push((process, diagnosis));
        }
    }
    survey.processes.sort_by_key(|(process, _)| process.pid);
    Ok(survey)
}

/// Looks again while somebody is there who was in doubt once; who counts in the end.
///
/// Who is gone a moment after its only look had begun or was about to end: what it showed says nothing of
/// it. (A freeze asks it again too, and says nothing of one that is gone.) Of who is still there after the
/// last look nothing better is known.
fn settled(
    first: BTreeSet<Name>,
    mut again: impl FnMut() -> Result<BTreeSet<Name>>,
    retain_those_there: impl Fn(&mut BTreeSet<Name>),
) -> Result<BTreeSet<Name>> {
    let (mut doubts, mut before, mut counts) = (first, BTreeSet::new(), BTreeSet::new());
    for look in 1..=LOOKS {
        counts.extend(doubts.intersection(&before).copied());
        let mut once: BTreeSet<Name> = doubts.difference(&before).copied().collect();
        if !once.is_empty() {
            retain_those_there(&mut once);
        }
        if once.is_empty() {
            break;
        }
        if look == LOOKS {
            counts.extend(once);
            break;
        }
        before.extend(doubts);
        doubts = again()?;
    }
    Ok(counts)
}

/// A process: its number, and when it was started.
type Name = (i32, u64);

fn name(process: &Observation) -> Name {
    (process.pid, process.start)
}

/// Does it still live?
fn is_there((pid, start): Name) -> bool {
    match procfs::look_at(pid) {
        Look::Seen(stat) => !stat.is_dead() && stat.start == start,
        Look::Gone(_) => false,
        Look::NotSeen(_) => true,
    }
}

/// Those that may have been met in their start.
fn doubts(survey: &Survey) -> BTreeSet<Name> {
    let doubtful = survey.processes.iter().filter(|seen| is_doubtful(seen));
    doubtful.map(|(process, _)| name(process)).collect()
}

fn is_doubtful((process, diagnosis): &(Observation, Diagnosis)) -> bool {
    is_fault(diagnosis) && !is_sure(process, diagnosis)
}

fn is_fault(diagnosis: &Diagnosis) -> bool {
    matches!(diagnosis.membership, Membership::NotGated | Membership::Unknown)
}

/// The loader maps what is preloaded before libc: where that is without ours, ours does not come any more. (musl's
/// loader is its libc, and says nothing of the kind.)
fn is_sure(process: &Observation, diagnosis: &Diagnosis) -> bool {
    let name =
        |file: &String| Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
    let is_libc = |name: String| name.starts_with("libc.so") || name.starts_with("libc-2");
    let has_libc = process.executable_files.iter().filter_map(name).any(is_libc);
    matches!(diagnosis.cause, Cause::Static | Cause::WordSize)
        || process.library.is_none() && has_libc
}

#[cfg(test)]
mod tests {
    use super::super::observe;
    use super::*;

    #[test]
    fn who_was_met_once_and_is_gone_does_not_count() {
        let of = |pids: &[i32]| pids.iter().map(|pid| (*pid, 7)).collect::<BTreeSet<Name>>();
        let settle = |first: &[i32], then: &[&[i32]], there: &[i32]| {
            let (mut then, there) = (then.iter(), of(there));
            let again = || Ok(of(then.next().expect("one look too many")));
            settled(of(first), again, |once| once.retain(|one| there.contains(one))).unwrap()
        };
        assert_eq!(settle(&[], &[], &[]), of(&[]));
        assert_eq!(settle(&[1, 2], &[], &[]), of(&[]), "gone: there is no second look");
        assert_eq!(settle(&[1, 2], &[&[1]], &[1]), of(&[1]), "2 was in its end");
        assert_eq!(
            settle(&[1], &[&[2, 3]], &[1]),
            of(&[]),
            "1 was in its start, the others are gone"
        );
        let (each, all) = ([&[2][..], &[3], &[4], &[5], &[6]], [1, 2, 3, 4, 5, 6]);
        assert_eq!(settle(&[1], &each, &all), of(&[6]), "it is there, and nothing better is known");
        assert_eq!(settle(&[1], &each, &all[..5]), of(&[]));
    }

    #[test]
    fn a_process_has_one_name_in_all_looks() {
        let look = || name(&observe::process(std::process::id() as i32, Path::new("/none")));
        let first = look();
        sleep(Duration::from_millis(20));
        assert!(first == look() && first.1 > 0 && is_there(first));
    }

    #[test]
    fn only_a_program_that_has_its_libc_is_beyond_doubt() {
        let sure = |cause, files: &[&str], library: Option<&str>| {
            let executable_files = files.iter().map(|file| (*file).to_owned()).collect();
            let library = library.map(str::to_owned);
            let process = Observation { executable_files, library, ..Observation::default() };
            is_sure(&process, &Diagnosis::new(cause, "", ""))
        };
        let libc = "/lib/x86_64-linux-gnu/libc.so.6";
        assert!(sure(Cause::NotAsked, &["/bin/sh", libc], None));
        assert!(!sure(Cause::Scrubbed, &["/bin/sh"], None), "in its exec");
        assert!(
            !sure(Cause::Detached, &["/bin/sh", libc], Some("/x/libwritegate.so")),
            "in its start"
        );
        assert!(!sure(Cause::OldLayout, &["/bin/sh", libc], Some("/x/libwritegate.so")));
        assert!(!sure(Cause::Unseen, &[], None), "ending");
        let musl = "/lib/ld-musl-x86_64.so.1";
        assert!(!sure(Cause::NotAsked, &["/bin/busybox", musl], None), "its libc is the loader");
        assert!(sure(Cause::Static, &["/bin/busybox"], None));
    }
}
