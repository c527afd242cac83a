//! The locks of one process, and how each of them ends.
//!
//! The table lies in the region, so that the freezer sees which lock is whose;
//! only the process itself writes it, without locks, also from signal handlers.
//! A place is claimed by its bit and published by its state.
//!
//! | kind | belongs to | ends at |
//! |---|---|---|
//! | [`LockKind::Posix`] | process and inode | unlock of the range; first close of *any* descriptor of the inode |
//! | [`LockKind::Flock`], [`LockKind::Ofd`] | open file description | unlock; last close of the description |
//! | [`LockKind::Dot`] | a file with a lock-like name, whoever made it | the file's end: its unlink, or rename over its target, by whomever |

mod entry;
mod file_name;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use entry::SHAPE;
pub use entry::{
    FOR_LIFE, GUARDS, INHERITED, JUDGED, KERNEL_TOO, LOCKS, Lock, LockEntry, LockKind, NO_DEVICE,
    OUTSIDE, ROOT_LEFT, SMALL,
};
pub(crate) use file_name::SHAPE as FILE_NAME_SHAPE;
pub use file_name::{FILE_NAME_MAX, FILE_NAMES, FileName, FileNames, FilePath};
pub use table::{LockTable, Table, TableFull};
