//! The profile: which files, locks and programs count.
//!
//! A small text, one `key = value` a line, `#` begins a comment. It lies in
//! `/etc/writegate/NAME.conf`, is checked by the command and published in the
//! control page; each process reads it there once, when it is first gated. It is
//! matched as text, line by line, on slow paths only: nothing is compiled, so
//! nothing is allocated.
//!
//! The keys, what their values are and what they mean: [`Key`] (one table, `keys.rs`).
//!
//! Patterns: `*` stands for any characters (`/` too), `?` for one. A pattern with
//! a `/` is held against the whole path, one without against the last component.

mod first_wait;
mod index;
mod keys;
mod lock_name;
mod pattern;
#[cfg(test)]
mod tests;
mod text;

pub use first_wait::FirstWait;
pub use index::{Index, matches};
pub use keys::{BUILT_IN, KEYS, Key, KeyInfo, TABLE, UNGATED, Value};
pub use lock_name::{LockName, is_lock_name, lock_like};
pub use pattern::glob;
pub use text::{LINES_MAX, Wrong, check, first_wait, values};
