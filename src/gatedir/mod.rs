//! A gate's directory: `NAME/control` (the control page), `NAME/lock`, `NAME/stats`; and the
//! profile, which lies elsewhere.
//!
//! Each fault has its own message, because at 3 a.m. "cannot open gate" helps no admin. A page
//! that is not ours to trust is never mapped.
//!
//! | module | duty |
//! |---|---|
//! | [`dir`] | where gates live, their names, and what is not safe there |
//! | [`open`] | opens a gate |
//! | [`page`] | its control page: makes it, maps it |
//! | [`other_layout`] | a page that another version made: what maps it, what to do |
//! | [`lock`] | the freeze lock |
//! | [`boot`] | this boot's id |
//! | [`profile`], [`in_force`] | the profile's file; whether that is what the page says |
//! | [`stats`] | what its freezes have come to so far |
//! | [`history`] | what became of each, over restarts of the machine |

mod boot;
mod dir;
pub mod history;
pub mod in_force;
mod lock;
mod open;
pub mod other_layout;
mod page;
mod profile;
pub mod stats;

pub use dir::{PAGE, check_name, check_root, names, root};
pub use open::Gate;
pub use profile::text as profile;
