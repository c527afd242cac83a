//! What may lie in shared memory, and how memory that another process writes is read.
//!
//! The building blocks only; the words, pages and regions made of them are in the
//! modules above, and [`crate::layout`] makes one number of all of them.

mod digest;
mod foreign;
mod shared;

pub use digest::Digest;
pub use foreign::Foreign;
pub use shared::Shared;
pub(crate) use shared::{constants, shared, values};
