//! Sections that count as over by the profile's `settled` rule: the owner has
//! everything on record, synced, and left the rest to a child that waits and has
//! done nothing. The rule itself is `gate::standing::settled`; here is what it asks.

use super::census::Member;
use super::pass::Reading;
use super::procfs;
use gate::standing::{self, Rest};
use std::sync::atomic::Ordering::Acquire;

/// Calls that may wait a second or more.
const WAITS: [i64; 13] = [
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_connect,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_recvfrom,
    libc::SYS_pause,
];

/// Notes which members' open sections count as over, for their present words.
pub fn note(members: &mut [Member], reading: &Reading) {
    let recorded = |m: &Member| word(m).is_some_and(|w| w.section_open() && w.recorded());
    if !members.iter().any(|m| !m.gone && recorded(m)) {
        return;
    }
    let standings = reading.standings();
    for at in 0..members.len() {
        if members[at].gone || !recorded(&members[at]) {
            continue;
        }
        let over = standing::settled(at, &standings, |other| rest(&members[other]));
        let now = word(&members[at]).map(|word| word.0);
        // Only for the word that was judged: the next step of the owner has another.
        if over && now == Some(standings[at].process.0) {
            members[at].settled = now;
        }
    }
}

fn word(member: &Member) -> Option<gate::word::ProcessWord> {
    let view = member.view.as_ref()?;
    Some(gate::word::ProcessWord(view.header().process.load(Acquire)))
}

fn rest(member: &Member) -> Rest {
    let call = procfs::syscall_fd(member.pid, member.pid).map(|(number, _)| number);
    let untouched = match &member.view {
        // Its region came with the fork and counts what it has changed since.
        Some(view) => {
            let header = view.header();
            header.changes.load(Acquire) == 0 && header.parent_nonce.load(Acquire) != 0
        }
        None => member.unborn,
    };
    Rest { waits: call.is_some_and(|call| WAITS.contains(&call)), untouched }
}
