//! The two words that decide.
//!
//! A [`ThreadWord`] says what one thread is doing in libc; only that thread
//! writes it. A [`ProcessWord`] says how many locks that guard writing the
//! process holds and whether its section is open; its threads share it.
//!
//! Both carry a sequence number that every entry raises *before* it acts, so
//! that two passes of the freezer which saw the same numbers know that nothing
//! happened in between. An entry that is not let pass takes its number back: a
//! thread's number counts what it did, not what it tried, and calls that arrive
//! at a closed barrier do not look like calls that passed it. 32 bits of
//! sequence wrap after 2^32 entries of one thread; between two passes
//! (microseconds) that cannot happen.

mod bits;
mod process;
mod thread;

pub use bits::{CALL_BITS, CALL_SHIFT};
pub(crate) use bits::{PERIOD_MASK, SHAPE};
pub use process::{ProcessWord, recorded_at_fork};
pub use thread::{Doing, ThreadWord};
