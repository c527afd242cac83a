//! What must hold, judged by the files' sequence numbers and by ghosts, never by
//! the words that the protocol itself looks at.

use super::state::{FILES, Phase, State, Verdict};
use super::{Protocol, Set};
use gate::thaw::Broken;

/// A verdict CONSISTENT on a torn snapshot.
pub const WHOLE: u8 = 1;
/// "Drained" was wrong: a set was cut, or somebody changed a file under the closed
/// barrier before its deadline (but for a call whose own bound was reached).
pub const STILL: u8 = 2;
/// A verdict CONSISTENT although somebody went on by the lease.
pub const LEASE: u8 = 4;
/// A call was held beyond its bound.
pub const BOUND: u8 = 8;
/// A verdict "moved" although nobody had.
pub const ALARM: u8 = 16;

/// Names of the above, as properties.
pub const NAMES: [(u8, &str); 5] = [
    (WHOLE, "no CONSISTENT verdict on a torn snapshot"),
    (STILL, "drained means that nothing moves"),
    (LEASE, "no CONSISTENT verdict after the lease"),
    (BOUND, "no call is held beyond its bound"),
    (ALARM, "no verdict spoilt by mere arrivals"),
];
/// What must be possible: a model in which nothing succeeds proves nothing.
pub const CONSISTENT: &str = "a freeze is CONSISTENT";
pub const ARRIVALS: &str = "a freeze is CONSISTENT with arrivals at the barrier";
/// Every path ends with a drained (or honestly given up) freeze and all work done.
pub const ENDS: &str = "no deadlock, nothing undrainable";

/// The property of this bit.
pub fn name(bit: u8) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == bit).expect("a property").1
}

/// A file was changed.
pub fn changed(s: &mut State) {
    if let Some(snapshot) = s.freezer.snapshot {
        let believes =
            matches!(s.freezer.phase, Phase::Snapshot | Phase::Thawing(_) | Phase::Reading);
        if believes && s.barrier != 0 && s.time < s.freezer.deadline && !s.freezer.overdue {
            s.wrong |= STILL;
        }
        if s.freezer.phase == Phase::Snapshot {
            s.freezer.torn |= s.files != snapshot;
        }
    }
}

/// Is some set cut in two in these files?
pub fn is_torn(files: &[u8; FILES], sets: &[Set], cut: u8) -> bool {
    sets.iter().enumerate().any(|(at, set)| {
        cut & 1 << at == 0
            && set.files.iter().any(|file| files[*file as usize] != files[set.files[0] as usize])
    })
}

/// The freezer believes that it has drained.
pub fn drained(s: &mut State, protocol: &Protocol) {
    s.freezer.snapshot = Some(s.files);
    if is_torn(&s.files, protocol.scenario.sets, s.cut) {
        s.freezer.torn = true;
        // After its deadline a freezer may believe what it likes, and of a call
        // whose bound was reached only the last pass can know: it will say so.
        if s.time < s.freezer.deadline && !s.freezer.overdue {
            s.wrong |= STILL;
        }
    }
}

/// A process is killed: what it, its parents and children were at is cut by a
/// death, which is the server's own business.
pub fn killed(s: &mut State, protocol: &Protocol, p: u8) {
    for (at, set) in protocol.scenario.sets.iter().enumerate() {
        let family = s.is_family(set.of, p);
        let forks = s.procs.iter().any(|proc| proc.parent == Some(set.of));
        if (family && forks) || is_torn(&s.files, &protocol.scenario.sets[at..=at], 0) {
            s.cut |= 1 << at;
        }
    }
}

/// A freeze has ended with this verdict.
pub fn judged(s: &mut State, protocol: &Protocol, verdict: Verdict) {
    if verdict == Verdict::Consistent {
        if s.freezer.torn {
            s.wrong |= WHOLE;
        }
        if s.freezer.lease_used {
            s.wrong |= LEASE;
        }
    }
    // Of one that died between announcing and retracting nobody can know more; and
    // a handler that is held inside a call that was still asking leaves that one's
    // number raised. Both are rare, and on the safe side.
    let killed = s.kills < protocol.scenario.kills || s.signals < protocol.scenario.signals;
    if verdict == Verdict::Broken(Broken::Moved) && !s.freezer.overdue && !killed {
        s.wrong |= ALARM;
    }
}

/// Has everybody done all that it wanted, and the freezer too?
pub fn all_done(s: &State, protocol: &Protocol) -> bool {
    s.freezer.phase == Phase::Finished
        && s.procs
            .iter()
            .all(|proc| !proc.alive || proc.threads.iter().all(|thread| protocol.is_over(thread)))
}
