//! Sections that count as over by the profile's `settled` rule: the owner has
//! everything on record, synced, and left the rest to a child that waits and has
//! done nothing. The rule itself is `gate::settled`; here is what it asks.

use crate::census::member::Member;
use crate::drive::reading::Reading;
use crate::drive::room::Room;
use crate::linux::procfs;
use crate::linux::sleeps::{self, Until};
use gate::settled::{self, HelperState};
use gate::word::ProcessWord;
use std::sync::atomic::Ordering::Acquire;

/// Of those that wait for one descriptor or a signal: calls in which such a child waits a second or more.
const LONG_WAITS: [i64; 3] = [libc::SYS_connect, libc::SYS_recvfrom, libc::SYS_pause];

/// Marks, in the pass that has just been read, the open sections that count as over.
///
/// Judged anew in every pass, and good for that pass alone: a judgement made before a
/// revocation (and its fence) would outlive the child that it was about, while the
/// owner, held at its own record, still shows the same word.
pub fn judge(members: &mut [Member], reading: &mut Reading, room: &mut Room) {
    members.iter_mut().for_each(|member| member.settled = None);
    let recorded = |word: ProcessWord| word.section_open() && word.recorded();
    let views = reading.views();
    if !views.iter().any(|p| recorded(p.process)) {
        return;
    }
    // Asked of each once, however many owners it works for.
    let mut states: Vec<Option<HelperState>> = vec![None; members.len()];
    let over: Vec<usize> = (0..members.len())
        .filter(|&at| !members[at].gone && recorded(views[at].process))
        .filter(|&at| {
            let unchanged = unchanged(members, at);
            settled::settled(at, &views, unchanged, &mut room.scratch(&views), |other| {
                *states[other].get_or_insert_with(|| helper_state(&members[other]))
            })
        })
        .collect();
    for at in over {
        // Only for the word that was judged: the next step of the owner has another.
        members[at].settled = reading.settle(at).map(|word| word.0);
    }
}

/// Has no process of this owner's family changed anything since the owner had all on
/// record? The count lies in the region of the program's first process, which
/// outlives that in our mapping.
fn unchanged(members: &[Member], owner: usize) -> bool {
    let header = |at: usize| members[at].view.as_ref().map(|view| view.header());
    let Some(recorded) = header(owner).map(|h| h.family_at_fork.load(Acquire)) else {
        return false;
    };
    let mut at = owner;
    // A list that lies about ancestry must not make us walk for ever.
    for _ in 0..members.len() {
        let Some(known) = header(at) else { return false };
        let told = known.parent_nonce.load(Acquire);
        if told == 0 {
            return known.family.load(Acquire) == recorded;
        }
        match members[at].parent {
            Some(parent) if members[parent].nonce == told => at = parent,
            _ => return false,
        }
    }
    false
}

fn waits_long(call: i64) -> bool {
    let long = matches!(sleeps::until(call), Some(Until::Time | Until::Child | Until::Events));
    long || LONG_WAITS.contains(&call)
}

fn helper_state(member: &Member) -> HelperState {
    let call = procfs::syscall_fd(member.pid, member.pid).map(|(number, _)| number);
    let family = match &member.view {
        Some(view) => view.header().parent_nonce.load(Acquire) != 0,
        None => member.fresh_fork,
    };
    HelperState { waits: call.is_some_and(waits_long), family, gone: member.gone }
}
