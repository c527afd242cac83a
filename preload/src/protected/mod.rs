//! Which files count: is what a call changes a protected file?
//!
//! | module | duty |
//! |---|---|
//! | [`operand`] | what a call changes, and whether that is protected |
//! | [`reached`] | which file a name reaches |
//! | [`place`] | whether a file lies on a protected place, and is judged there |
//! | [`passed_by`] | what was changed under a lock that no list protects |
//! | [`paths`] | the path of a descriptor's file |
//! | [`streams`] | stdio streams with something to write |
//! | [`hand_over`] | what is sent to another process of this machine |
//! | [`lifetime_locks`] | locks that a program holds as long as it lives |
//! | [`unasked`] | answers from before a process confined itself |
//! | [`remembered`], [`descriptor_cache`] | answers that are kept |

pub mod descriptor_cache;
mod hand_over;
pub mod lifetime_locks;
pub mod operand;
mod passed_by;
pub mod paths;
mod place;
pub mod reached;
pub mod remembered;
pub mod streams;
pub mod unasked;
