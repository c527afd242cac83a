//! How an attempt to hold processes at rest ended, as the tracer reports it.

use crate::hold::report::{End, Report};
use crate::linux::procfs;
use crate::outcome::blocker::{Blocker, BlockerState};
use crate::outcome::held::NotHeld;

/// How an attempt to hold them ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldEnd {
    /// All are at rest.
    AtRest,
    /// Some could not be held; nothing is held any more.
    NotHeld,
    /// They were not brought to rest in time; nothing is held any more.
    NotAtRest,
    /// A signal came; nothing is held any more.
    Interrupted(i32),
}

/// What a report comes to.
pub fn end_of(report: &Report) -> HoldEnd {
    match report.end {
        _ if report.not_held.iter().any(|process| process.why.is_free()) => HoldEnd::NotHeld,
        End::AtRest => HoldEnd::AtRest,
        End::NotStopped | End::UnderLock | End::Multiplying | End::Failed => HoldEnd::NotAtRest,
    }
}

/// One that was in the way.
pub fn blocker(process: &NotHeld) -> Blocker {
    Blocker {
        pid: process.pid,
        program: process.program.clone(),
        uid: procfs::uid(process.pid),
        state: BlockerState::InFlight,
        call: None,
        path: process.why.file().cloned(),
        why: process.why.sentence(),
        age_ms: None,
    }
}
