//! The freezer's state machine, from raising the barrier to "nothing is in flight".
//!
//! It makes no system call. The caller (the command, or a model) does what
//! [`Drain::next`] asks for and tells it what came of it:
//!
//! ```text
//!   Close ─> Fence ─> Pass ──idle twice, same digest──> Rescan ─no newcomer─> Pass ─the same─> Done(Drained)
//!              ^       │ ^                                  │                    │
//!              │       │ └──────────── newcomers ───────────┘                    │
//!              │       │ └──────────────────────── not the same ─────────────────┘
//!              │       ├─ blocked behind a held one ─> Admit ─┐
//!              │       ├─ owner of an admitted child done ─> Revoke ─> Pass
//!              │       ├─ nothing moves, one is held ─> Open ─> AwaitMoved ─> Close
//!              │       ├─ nothing moves ─> Pause ─> Rescan ─> Pass
//!              │       └─ drain time up ─> Done(NotDrained)
//! ```
//!
//! Every `Close` is followed by a `Fence`, and what was seen before it counts
//! for nothing. The last pass comes after the listing: what a process has changed that
//! was born and died without being listed is counted by then ([`crate::settled::settled`]).
//!
//! Where a profile names programs that are held `first`, each `Close` has a prelude:
//! close for those alone, drain them, then wait until all others have quiesced
//! (one that has an answer of theirs puts down what follows from it). If that is not bounded
//! ([`Order`]), all news of theirs has been acted on by then ([`crate::quiesce`]); else nothing is
//! promised by it. What counts is seen after the `Close` for all.
//!
//! ```text
//!   CloseFirst ─> Fence ─> Pass ─first ones idle, twice─> Rescan ─> Pass ─quiesced─> Close ─> ...
//!                           ^ └─ not yet ─> as below, without openings            (both bounded)
//! ```
//!
//! Those of them that hand something over to other processes are closed for and drained
//! before that, for the makers may be the ones that must take it.

mod limits;
mod machine;
mod step;
#[cfg(test)]
mod tests;

pub use limits::{Limits, Order};
pub use machine::Drain;
pub use step::{Action, Answer, Outcome};
