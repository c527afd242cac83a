//! Locks that would keep a freeze from draining, and that last: looked at again and again, if there are any.
//! Of each the line is proposed that the profile lacks, if it is held as long as its process runs.

use crate::census::files::path_of_lock;
use crate::census::kernel_locks::{look, unaccounted};
use crate::census::list::Census;
use crate::census::member::Member;
use crate::evidence::ancestry::is_kin;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::helper::owner::Helper;
use crate::linux::look::Look;
use gate::profile::{self, Key};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Acquire;

/// A set under a lock is written in some ms; what is there in each look during this time may last.
const LASTS_NS: u64 = 1_000_000_000;
/// So often it is looked. One that takes a lock again and again has it in some looks, and not in all.
const LOOKS: u64 = 10;

/// Such a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LastingLock {
    /// Who holds it.
    pub pid: i32,
    /// Its program.
    pub program: ForeignText,
    /// The locked file.
    pub path: ForeignText,
    /// Its section began then, if a region says so.
    #[serde(skip)]
    since: Option<u64>,
}

/// Those of gate 0.
pub fn of(census: &mut Census, helper: &mut Helper, profile: &str) -> Vec<LastingLock> {
    let mut lasting = now(census, profile);
    for _ in 0..LOOKS {
        if lasting.is_empty() {
            break;
        }
        clock::sleep_ns(LASTS_NS / LOOKS);
        // Regions that are copied are of before.
        helper.refresh();
        let still = now(census, profile);
        lasting.retain(|lock| still.contains(lock));
    }
    lasting
}

/// The locks under which a set is half-done now, as far as anybody knows.
fn now(census: &mut Census, profile: &str) -> Vec<LastingLock> {
    // The region of one that has ended stays as it was: its locks ended with it.
    census.remove_dead();
    let census = &*census;
    let members = &census.gates[0];
    let alive = || members.iter().enumerate().filter(|(_, member)| !member.gone);
    let looks: HashMap<_, _> = alive()
        .filter_map(|(place, member)| match look(member) {
            Look::Seen(look) => Some((place, look)),
            Look::Gone(_) | Look::NotSeen(_) => None,
        })
        .collect();
    let for_life = |path: &str| profile::matches(profile, Key::LifetimeLock, path.as_bytes());
    let mut found = Vec::new();
    for (place, member) in alive() {
        let lock = |path, since| LastingLock {
            pid: member.pid,
            program: member.stat.comm.clone(),
            path,
            since,
        };
        found.extend(of_its_section(member).map(|(path, since)| lock(path, Some(since))));
        let left = unaccounted(members, &looks, place, |held| {
            for_life(&held.path) || is_kin(member.pid, census)
        });
        found.extend(left.map(|left| lock(left.path.into(), None)));
    }
    found
}

/// The lock that holds a member's section open, and since when.
fn of_its_section(member: &Member) -> Option<(ForeignText, u64)> {
    let word = member.process_word()?;
    let header = member.view.as_ref()?.header();
    let lock = header.locks.locks().find(|lock| lock.counts())?;
    let since = header.section_since.load(Acquire);
    word.section_open().then(|| (path_of_lock(member, &lock), since))
}
