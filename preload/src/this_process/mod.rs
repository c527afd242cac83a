//! What this process knows of itself and its gate.
//!
//! | module | duty |
//! |---|---|
//! | [`state`] | mode, control page, barrier, region: the few statics |
//! | [`settings`] | what was configured |
//! | [`profile_flags`] | what the profile says of this program |
//! | [`region`] | making the region, adopting one after a fork |
//! | [`slots`] | the slot of each thread |
//! | [`lock_table`] | locks taken and released, in the process's word |
//! | [`mailbox`] | lock files that forked children leave for their parent |
//! | [`family`] | changes counted together with all forked children |

pub mod family;
pub mod lock_table;
pub mod mailbox;
pub mod profile_flags;
pub mod region;
pub mod settings;
pub mod slots;
pub mod state;
