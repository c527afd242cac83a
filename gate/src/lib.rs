//! The gate: the protocol between the mail server's processes and the freezer.
//!
//! This crate is what the preloaded library and the command agree on. It is
//! `no_std`, allocates nothing, makes no system call and knows no hook: it holds
//! the layout of the shared memory and the decisions that both sides take on it.
//! Everything here can be tested without a process; `tests/protocol/model_*.rs` explores
//! the same functions with every interleaving.
//!
//! Read in this order:
//!
//! | module | duty |
//! |---|---|
//! | [`name`] | what a gate may be called |
//! | [`abi`] | what may lie in shared memory, and how another process's memory is read |
//! | [`word`] | the two words that decide: one per thread, one per process |
//! | [`control`] | the control page: barrier, admissions, profile; written by the freezer alone |
//! | [`region`] | what one process announces about itself |
//! | [`places`] | which files are protected: the list that the freezer publishes, what no list protected |
//! | [`mark`] | in which PID namespace a mapping of the page was made: who may be there and not be seen |
//! | [`claimed`] | a region as its process claims it to be, read with bounds |
//! | [`locks`] | the locks a process holds, and when its section is over |
//! | [`mailbox`] | what children leave for the process that waits for them |
//! | [`layout`] | one number for all that two sides must agree on |
//! | [`check`] | may a page or a region be believed at all? |
//! | [`entry`] | what a worker may do when it meets the barrier |
//! | [`view`] | one process and its threads, as a pass of the freezer saw them |
//! | [`summary`] | what one pass makes of all of them: what is in flight, whether a call passed |
//! | [`admission`] | which process to let pass a closed barrier, and when to take that back |
//! | [`settled`] | sections that count as over although their locks are held |
//! | [`scratch`] | room in which a pass is judged at a cost that no region decides |
//! | [`drain`] | the freezer's state machine: close, pass, admit, open, done |
//! | [`thaw`] | the end of a freeze: a last pass, the opening, the clock |
//! | [`hold`] | the tracer's state machine: processes without words are stopped where they hold no lock |
//! | [`quiesce`] | when the processes that are not held yet have acted on what the first ones did |
//! | [`profile`] | which files, locks and programs count: patterns and their parser |
//! | [`calls`] | the table of hooked calls, one line each |
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod admission;
pub mod calls;
pub mod check;
pub mod claimed;
pub mod control;
pub mod drain;
pub mod entry;
pub mod hold;
pub mod layout;
pub mod locks;
pub mod mailbox;
pub mod mark;
pub mod name;
pub mod places;
pub mod profile;
pub mod quiesce;
pub mod region;
pub mod scratch;
pub mod settled;
pub mod summary;
pub mod thaw;
pub mod view;
pub mod word;
