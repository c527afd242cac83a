//! Which files count: is what a call changes a protected file?
//!
//! | module | duty |
//! |---|---|
//! | [`operand`] | what a call changes, and whether that is protected |
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
pub mod paths;
pub mod remembered;
pub mod streams;
pub mod unasked;
