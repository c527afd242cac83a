//! Which file does a name reach? By opening what it leads through, as the kernel does it
//! (`/proc/self/cwd/x`, `/dev/fd/7`, `a/../b`, links), and asking the kernel where that is.

use super::paths::{absolute, fill_path_of, with_path_of};
use super::place::{below_a_named_directory, judge};
use crate::linux::confined;
use crate::linux::files::{Stat, close, fs_type, fstat, lstat_at, open};
use crate::linux::signals::Blocked;
use crate::program_memory::program_string;
use crate::text::Path;
use linux_raw_sys::errno::{EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR};
use linux_raw_sys::general::{O_DIRECTORY, O_PATH};

/// What a call does with a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Changes the entry in its directory: not what it stands for.
    Entry,
    /// Makes it, or changes the file that it stands for.
    File,
    /// Opens the file that it stands for, or makes it: what is a pipe or device changes no file.
    Opened,
}

/// What matters of stat: of the stack that a hook may use it takes a fifth.
#[derive(Clone, Copy)]
struct Seen {
    dev: u64,
    is_link: bool,
    is_file_or_directory: bool,
    has_other_names: bool,
}

impl Seen {
    fn of(stat: &Stat) -> Seen {
        Seen {
            dev: stat.dev,
            is_link: stat.is_symbolic_link(),
            is_file_or_directory: stat.is_file_or_directory(),
            has_other_names: stat.has_other_names(),
        }
    }

    /// Of a name itself.
    ///
    /// # Safety
    /// `path` is a C string.
    #[inline(never)]
    unsafe fn name(dir: i32, path: *const u8) -> Option<Seen> {
        // SAFETY: a C string, by the caller's promise.
        unsafe { lstat_at(dir, path) }.as_ref().map(Seen::of)
    }
}

/// A descriptor that stands for a place and opens nothing: its close ends no lock of the file.
struct Place {
    fd: i32,
    _closed_for_sure: Blocked,
}

impl Place {
    /// Negative errno on failure.
    ///
    /// # Safety
    /// `path` is a C string.
    unsafe fn open(dir: i32, path: *const u8, flags: u32) -> Result<Place, isize> {
        let signals = Blocked::all();
        // SAFETY: a C string, by the caller's promise.
        match unsafe { open(dir, path, O_PATH | flags) } {
            fd if fd < 0 => Err(fd),
            fd => Ok(Place { fd: fd as i32, _closed_for_sure: signals }),
        }
    }

    /// The directory that a name is in; `path` is where the name lies there, as the kernel shows it,
    /// and empty without /proc. Where the name is too long for a buffer: the error 0.
    ///
    /// # Safety
    /// `text` is a C string's.
    unsafe fn directory_of(dir: i32, text: &[u8], path: &mut Path) -> Result<Place, isize> {
        let (directory, name) = last(text);
        path.clear();
        path.push(directory);
        if path.too_long {
            return Err(0);
        }
        // SAFETY: a `Buffer` always ends with a NUL.
        let place = unsafe { Place::open(dir, path.c(), O_DIRECTORY) }?;
        fill_path_of(place.fd, path);
        if !path.bytes().is_empty() {
            path.trim_end(b'/');
            path.push(b"/");
            path.push(name);
        }
        Ok(place)
    }

    #[inline(never)]
    fn look(&self) -> Option<Seen> {
        fstat(self.fd).as_ref().map(Seen::of)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        close(self.fd);
    }
}

/// Is the directory that this name is in protected, or, by `use_`, what it stands for?
///
/// # Safety
/// `path` is a C string, and not empty.
pub unsafe fn is_protected(dir: i32, path: *const u8, text: &[u8], use_: Use) -> bool {
    let mut stands_for = None;
    if use_ != Use::Entry {
        // SAFETY: a C string, by the caller's promise.
        stands_for = unsafe { Seen::name(dir, path) };
        let elsewhere = stands_for.is_some_and(|seen| seen.is_link) || !ends_in_a_name(text);
        if elsewhere {
            // SAFETY: as above.
            match unsafe { through_link(dir, path, use_) } {
                Through::Protected => return true,
                Through::NoFile => return false,
                Through::Unprotected => stands_for = None,
            }
        } else if use_ == Use::Opened && stands_for.is_some_and(|seen| !seen.is_file_or_directory) {
            return false;
        }
    }
    // SAFETY: as above.
    unsafe { in_directory(dir, text, stands_for) }
}

/// Is the last component a name in a directory (not `..`, nor a root)?
fn ends_in_a_name(text: &[u8]) -> bool {
    !matches!(last(text).1, b"." | b".." | b"")
}

/// What stands before the last component, and that one. `mkdir("new/")`: what stands before the
/// last slash is not there yet.
fn last(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().rposition(|c| *c != b'/').map_or(0, |at| at + 1);
    let text = text.get(..end).unwrap_or(&[]);
    match text.iter().rposition(|c| *c == b'/') {
        Some(0) => (b"/", text.get(1..).unwrap_or(&[])),
        Some(at) => (text.get(..at).unwrap_or(b"."), text.get(at + 1..).unwrap_or(&[])),
        None if end == 0 => (b"/", &[]),
        None => (b".", text),
    }
}

/// What a link led to.
enum Through {
    Protected,
    Unprotected,
    /// A pipe or device, and the call wants to open a file.
    NoFile,
}

/// # Safety
/// `path` is a C string.
#[inline(never)]
unsafe fn through_link(dir: i32, path: *const u8, use_: Use) -> Through {
    // SAFETY: a C string, by the caller's promise.
    let Ok(place) = (unsafe { Place::open(dir, path, 0) }) else {
        // A link to nothing: an open makes a file, at a place that is not known here.
        return Through::Protected;
    };
    let Some(seen) = place.look() else { return Through::Protected };
    if use_ == Use::Opened && !seen.is_file_or_directory {
        return Through::NoFile;
    }
    let protected = with_path_of(place.fd, true, |path| {
        judge(seen.dev, path, seen.has_other_names, || fs_type(place.fd))
    });
    if protected { Through::Protected } else { Through::Unprotected }
}

/// # Safety
/// `text` is the program's, a C string's.
#[inline(never)]
unsafe fn in_directory(dir: i32, text: &[u8], file: Option<Seen>) -> bool {
    let mut buffer = Path::new();
    // SAFETY: a C string's, by the caller's promise.
    let place = match unsafe { Place::directory_of(dir, text, &mut buffer) } {
        Ok(place) => place,
        Err(error) => {
            // Where the kernel finds no directory the call finds none either.
            let none = [ENOENT, ENOTDIR, ELOOP, EACCES, ENAMETOOLONG];
            return !none.iter().any(|errno| error == -(*errno as isize));
        }
    };
    let Some(parent) = place.look() else { return true };
    if buffer.bytes().is_empty() {
        // Without /proc: no exclusion applies, and the name as it was given may say that
        // the file is protected, not that it is none.
        absolute(dir, text, &mut buffer);
        if buffer.too_long || below_a_named_directory(buffer.bytes()) {
            return true;
        }
        buffer.clear();
    }
    if buffer.too_long {
        return true;
    }
    let magic = || fs_type(place.fd);
    let links = file.is_some_and(|seen| seen.has_other_names);
    judge(parent.dev, buffer.bytes(), links, magic)
        // A mount point: the file lies elsewhere.
        || file.is_some_and(|seen| {
            seen.dev != parent.dev && judge(seen.dev, buffer.bytes(), links, magic_unknown)
        })
}

/// What lies on a mount point is not opened to be asked.
fn magic_unknown() -> Option<u32> {
    None
}

/// What `judge` says to the path of the file that a name stands for: of an entry in a directory,
/// with links on the way followed. False where it cannot be told.
///
/// # Safety
/// `path` is a C string or null.
#[inline(never)]
pub unsafe fn with_path_of_name(
    dir: i32,
    path: *const u8,
    judge: impl FnOnce(&[u8]) -> bool,
) -> bool {
    if confined::by_itself() {
        return false;
    }
    // SAFETY: the program's path, which it leaves as it is until its call has returned.
    let Some(text) = (unsafe { program_string(path) }) else { return false };
    if !ends_in_a_name(text) {
        return false;
    }
    let mut buffer = Path::new();
    // SAFETY: the program's path.
    let is_there = unsafe {
        !Seen::name(dir, path).is_some_and(|seen| seen.is_link)
            && Place::directory_of(dir, text, &mut buffer).is_ok()
    };
    is_there && !buffer.bytes().is_empty() && !buffer.too_long && judge(buffer.bytes())
}
