//! Processes that no preload reaches are held at rest: stopped by ptrace where they hold no lock that
//! guards writing (`gate::hold` decides), and let go by the kernel, whatever becomes of us.
//!
//! The tracer is a process of its own: its memory is locked, it has a timer that kills it at the deadline,
//! and nothing that it does waits for a disk. When it is gone, all that it held runs.
//!
//! | module | duty |
//! |---|---|
//! | [`selection`] | which processes |
//! | [`table`] | what is known of their threads |
//! | [`threads`] | makes them ours, hears what they do |
//! | [`locks`] | the locks that keep one from being at rest |
//! | [`lock_calls`] | the system calls that take one, or may give one up |
//! | [`at_work`] | programs whose sets last until they wait |
//! | [`settled`] | sets that count as over under their locks |
//! | [`waits`] | for whom one at rest waits |
//! | [`lock_files`] | locks that are only files |
//! | [`order`] | when the others are held, after those that are held first |
//! | [`tracer`] | the tracer's life: carries out what `gate::hold` asks for |
//! | [`protocol`] | what it is asked, and what it answers |
//! | [`report`] | what it tells: who was held, who could not be |
//! | [`owner`] | the freezer's side: starts it, asks, waits no longer than it must |

mod at_work;
mod lock_calls;
pub mod lock_files;
pub mod locks;
mod order;
pub mod owner;
pub mod protocol;
pub mod report;
pub mod selection;
mod settled;
mod table;
mod threads;
mod tracer;
mod waits;
