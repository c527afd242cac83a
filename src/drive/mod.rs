//! The loop that carries out what `gate::drain` and `gate::thaw` ask for.
//!
//! | module | duty |
//! |---|---|
//! | [`session`] | the gates, their processes, and what they are looked at with |
//! | [`drain`] | carries out a drain, action by action |
//! | [`thaw`] | the last pass, and the opening |
//! | [`progress`] | one gate's drain under way |
//! | [`one_pass`], [`reading`] | one pass over a gate; the words as it read them |
//! | `room` | room in which a pass is judged |
//! | [`barrier`] | all that is ever stored in a control page |
//! | `admissions`, `opening` | which may pass a closed barrier; opening it for a moment |
//! | `pause` | what is done between two passes |
//! | `kernel_locks` | the regions' accounts, held against the kernel's locks |
//! | `explained_locks` | the short way: every lock that the kernel lists is accounted for |
//! | `lock_owners` | who is behind a lock that no member explains |
//! | `lock_files` | those that a parent left to its children |
//! | `in_flight` | what keeps the gate from draining, put down while it can be seen |
//! | [`settled`], [`quiesce`] | what the profile's rules ask for |
//! | [`quiet`] | a moment that suits, before the barrier goes up |
//! | [`cooldown`] | how long a gate stays open between two freezes |

mod admissions;
pub mod barrier;
pub mod cooldown;
pub mod drain;
mod explained_locks;
mod in_flight;
mod kernel_locks;
mod lock_files;
mod lock_owners;
pub mod one_pass;
mod opening;
mod pause;
pub mod progress;
pub mod quiesce;
pub mod quiet;
pub mod reading;
mod room;
pub mod session;
pub mod settled;
pub mod thaw;
