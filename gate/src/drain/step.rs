//! One step of a drain: what the machine asks for, and what came of it.

use crate::admission::Admission;
use crate::control::Rank;
use crate::summary::Summary;

/// What the caller must do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Action {
    /// Store this deadline in the words of those that are held so early, or earlier.
    CloseFirst(Rank, u64),
    /// Store this deadline in the barrier word.
    Close(u64),
    /// `membarrier`, so that every entry older than the closing is visible.
    Fence,
    /// Look at every word of every region.
    Pass,
    /// Look for processes that are not in the list yet, and add them.
    Rescan,
    /// Let this one pass, and wake it.
    Admit(Admission),
    /// Take back the admissions of children of an owner that is done; full fence.
    Revoke,
    /// Store 0 in the barrier word and wake all.
    Open,
    /// Wait until every thread that was held at the opening has moved (bounded).
    AwaitMoved,
    /// Wait a moment, then say what the time is.
    Pause,
    /// The end.
    Done(Outcome),
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Answer {
    /// Done; the clock now, ns.
    Done(u64),
    /// A pass was made; the clock now, ns.
    Seen(Summary, u64),
    /// The list was brought up to date; this many processes are new.
    Newcomers(u32),
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Outcome {
    /// Nothing is in flight, nothing moves; the barrier is up.
    Drained,
    /// The time for draining was up; the barrier is down.
    NotDrained,
}
