//! Does a call change a protected file?
//!
//! Asked on slow paths only: under a closed barrier, and for the first change
//! under a lock. What is in doubt is protected; so is what must not be asked, in a process
//! that has confined itself. Where a file lies: [`super::place`]; which file a name reaches:
//! [`super::reached`].

use super::paths::with_path_of;
use super::place::judge;
use super::reached::{self, Use, with_path_of_name};
use super::remembered::PROTECTED;
use super::streams::any_pending;
use super::{hand_over, unasked};
use crate::linux::confined;
use crate::linux::files::{fs_type, fstat};
use crate::program_memory::program_string;
use crate::resolve::libc::fileno;
use crate::this_process::settings::settings;
use gate::profile::Key;

/// The file, or files, that a call is about to change.
#[derive(Clone, Copy)]
pub enum Operand {
    /// The file of a descriptor.
    Fd(i32),
    /// How a descriptor's file is owned and allowed: that of a pipe or device too.
    Attributes(i32),
    /// The file of a name, or a name to be made: directory descriptor, path.
    Name(i32, *const u8),
    /// A name that goes or comes, whatever it stands for.
    Entry(i32, *const u8),
    /// The file of a name, to be made or emptied: a pipe or device is neither.
    Opened(i32, *const u8),
    /// Two names that go or come.
    Entries(i32, *const u8, i32, *const u8),
    /// A stream's file.
    Stream(u64),
    /// All streams with something to write.
    Streams,
    /// Something protected, without a look (fork under a lock).
    Anything,
}

/// Does the call change a protected file?
///
/// # Safety
/// Paths in `operand` are what the program passed: C strings or null.
pub unsafe fn protected(operand: &Operand) -> bool {
    // SAFETY: the paths in `operand` are the program's, by the caller's promise.
    unsafe {
        match *operand {
            Operand::Fd(fd) => descriptor(fd),
            Operand::Attributes(fd) => of_descriptor(fd, true),
            Operand::Name(dir, path) => name(dir, path, Use::File),
            Operand::Entry(dir, path) => name(dir, path, Use::Entry),
            Operand::Opened(dir, path) => name(dir, path, Use::Opened),
            Operand::Entries(a, path_a, b, path_b) => {
                name(a, path_a, Use::Entry) || name(b, path_b, Use::Entry)
            }
            Operand::Stream(stream) => descriptor(fileno(stream)),
            Operand::Streams => any_stream(),
            Operand::Anything => true,
        }
    }
}

/// Has any stream something to write to a protected file?
pub fn any_stream() -> bool {
    any_pending(descriptor)
}

/// Is a descriptor's file protected?
pub fn descriptor(fd: i32) -> bool {
    of_descriptor(fd, false)
}

/// `special`: also that of a pipe, socket or device. What is written to one goes
/// elsewhere, but its name, mode and owner lie on storage like those of any file.
fn of_descriptor(fd: i32, special: bool) -> bool {
    if confined::by_itself() {
        return unasked::may_be_protected(fd);
    }
    let Some(stat) = fstat(fd) else { return false };
    if !special && !stat.is_file_or_directory() {
        return stat.is_socket() && hand_over::is_one(fd);
    }
    if PROTECTED.has(stat.dev, stat.ino) {
        return true;
    }
    let links = stat.has_other_names();
    let protected = with_path_of(fd, true, |path| judge(stat.dev, path, links, || fs_type(fd)));
    if protected {
        PROTECTED.put(stat.dev, stat.ino);
    }
    protected
}

/// Is what this name stands for, or the directory that it is in, protected?
///
/// # Safety
/// `path` is a C string or null.
unsafe fn name(dir: i32, path: *const u8, use_: Use) -> bool {
    if confined::by_itself() {
        return true;
    }
    let special = use_ != Use::Opened;
    if path.is_null() {
        // utimensat(fd, NULL): the descriptor itself.
        return of_descriptor(dir, special);
    }
    // SAFETY: the program's path, which it leaves as it is until its call has returned.
    let Some(text) = (unsafe { program_string(path) }) else { return false };
    if text.is_empty() {
        // AT_EMPTY_PATH: the descriptor itself.
        return of_descriptor(dir, special);
    }
    // SAFETY: the program's path, which was read to its end just now.
    unsafe { reached::is_protected(dir, path, text, use_) }
}

/// Is this the content of a file whose writer may be stopped half-way?
pub fn parkable(operand: &Operand) -> bool {
    let by_path = |path: &[u8]| settings().given(Key::Parkable, path);
    match *operand {
        Operand::Fd(fd) | Operand::Attributes(fd) => with_path_of(fd, false, by_path),
        Operand::Stream(stream) => with_path_of(fileno(stream), false, by_path),
        Operand::Name(dir, name) | Operand::Opened(dir, name) | Operand::Entry(dir, name) => {
            // SAFETY: the program's path, which it leaves as it is until its call has returned.
            unsafe { with_path_of_name(dir, name, by_path) }
        }
        _ => false,
    }
}
