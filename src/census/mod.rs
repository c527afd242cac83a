//! The census: every gated process of every gate that is being frozen.
//!
//! Made before the barrier goes up; kept true afterwards. A process is gated if it maps the
//! gate's *present* control page; one that maps it and shows no region of its own is in flight
//! until it does.
//!
//! | module | duty |
//! |---|---|
//! | [`list`] | all members, and everything else that was looked at |
//! | [`rescan`] | those that came since |
//! | `deaths` | those that died |
//! | [`member`], [`region`] | one gated process; its region |
//! | [`belonging`] | what belongs to a service |
//! | [`kinds`] | what a process turned out to be |
//! | `elsewhere` | which are another gate's |
//! | [`disregard`] | words that mean nothing |
//! | `hidden` | who may map a page and cannot be seen from here |
//! | [`kernel_locks`] | the locks that the kernel shows, and what a region says of each |
//! | [`listed_locks`] | whose descriptors need not be read to know that they hold none |
//! | [`unaccounted`] | a lock that no region accounts for |
//! | [`shown`] | what a region showed in one reading |
//! | [`blockers`], [`files`] | what keeps a gate from draining, in words; the files it is about |
//! | [`dotlocks`] | dotlocks that lie in a snapshot |

pub mod belonging;
pub mod blockers;
mod deaths;
pub mod disregard;
pub mod dotlocks;
mod elsewhere;
pub mod files;
mod hidden;
pub mod kernel_locks;
pub mod kinds;
pub mod list;
pub mod listed_locks;
pub mod member;
pub mod region;
pub mod rescan;
pub mod shown;
pub mod unaccounted;
