//! Calls that make, remove or open a name.
//!
//! Among them are those that make or remove a lock file: see [`super::dotlocks`].

use super::arguments::{O_CREAT, O_EXCL, O_TRUNC, directory, path};
use super::dotlocks::{
    self, MAKES_LOCK, MAKES_POST, MAKES_UNWRITABLE, are_named, comes_back, gone_unannounced,
    is_named, lock_name, may_name_lock, note_removed_lock,
};
use crate::announce::{BRACKET, PASS, announce};
use crate::change::{SectionEffect, matters};
use crate::frame::Frame;
use crate::linux::confined;
use crate::linux::files::stat_at;
use crate::program_memory::{program_can_read, program_string};
use crate::protected::descriptor_cache;
use crate::protected::operand::Operand;
use crate::this_process::lock_table::process_word;
use crate::this_process::profile_flags::PROFILE_FLAGS;
use crate::this_process::state::{Region, region};
use core::sync::atomic::Ordering::Relaxed;
use gate::profile::{LockName, is_lock_name};
use linux_raw_sys::general::{O_ACCMODE, RESOLVE_IN_ROOT};

/// The bit that is O_TMPFILE's own; the constant of that name has O_DIRECTORY in it.
const O_TMPFILE_BIT: u64 = linux_raw_sys::general::__O_TMPFILE as u64;

/// # Safety
/// `path` is a C string or null.
pub unsafe fn open(frame: &mut Frame, dir: i32, path: *const u8, flags: u64) -> u64 {
    if flags & (O_CREAT | O_TRUNC | O_TMPFILE_BIT) == 0 {
        return PASS;
    }
    // SAFETY: the paths are the program's, by the caller's promise.
    unsafe {
        let Some(text) = program_string(path) else { return PASS };
        let exclusive = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
        frame.note[0] = match exclusive.then(|| lock_name(dir, text)).flatten() {
            Some(LockName::Lock) => MAKES_LOCK,
            Some(LockName::HitchingPost) => MAKES_POST,
            None if makes_to_write(flags) && is_lock_name(text) && !is_there(dir, path) => {
                MAKES_UNWRITABLE
            }
            None => 0,
        };
        let effect = if exclusive && frame.note[0] != 0 {
            SectionEffect::None
        } else if flags & O_TRUNC == 0 && may_begin() && is_there(dir, path) {
            // Only opened: whatever is written to it later is the change.
            SectionEffect::None
        } else {
            SectionEffect::Begins
        };
        let action = announce(frame, None, effect, |_| Operand::Opened(dir, path));
        comes_back(frame, action)
    }
}

/// Does it make a file, if there is none, and open it for writing?
fn makes_to_write(flags: u64) -> bool {
    flags & O_CREAT != 0 && flags & O_ACCMODE as u64 != 0
}

/// Is there a file of this name? Where that must not be asked, none.
///
/// # Safety
/// `path` is a C string or null.
unsafe fn is_there(dir: i32, path: *const u8) -> bool {
    // SAFETY: the caller's promise.
    !confined::by_itself() && unsafe { stat_at(dir, path) }.is_some()
}

/// Would a change now begin a section?
fn may_begin() -> bool {
    region().is_some_and(|r| matters(process_word(r), PROFILE_FLAGS.load(Relaxed)))
}

/// # Safety
/// The arguments are openat2's.
pub unsafe fn open_how(frame: &mut Frame) -> u64 {
    /// How the file is looked for: the third number of `struct open_how`.
    const RESOLVE: usize = 2;
    let how = frame.arg(2) as *const u64;
    if !program_can_read(how as u64, (RESOLVE + 1) * size_of::<u64>()) {
        return PASS;
    }
    // SAFETY: `struct open_how` is three numbers, the flags first; they can be read, as was seen
    // above. The path is the program's, by the caller's promise.
    unsafe {
        let flags = how.read_unaligned();
        if how.add(RESOLVE).read_unaligned() & RESOLVE_IN_ROOT as u64 != 0 {
            // The name means another file than anywhere else: not looked for a second time.
            frame.note[0] = 0;
            if flags & (O_CREAT | O_TRUNC | O_TMPFILE_BIT) == 0 {
                return PASS;
            }
            return announce(frame, None, SectionEffect::Begins, |_| Operand::Anything);
        }
        open(frame, frame.arg(0) as i32, path(frame, 1), flags)
    }
}

/// # Safety
/// The arguments are open_by_handle_at's.
pub unsafe fn open_handle(frame: &mut Frame) -> u64 {
    if frame.arg(2) & O_TRUNC == 0 {
        return PASS;
    }
    let mount = frame.arg(0) as i32;
    // SAFETY: this operand names no path.
    unsafe { announce(frame, Some(mount), SectionEffect::Begins, |_| Operand::Fd(mount)) }
}

/// # Safety
/// The arguments are those of a call that makes a second name.
pub unsafe fn link(frame: &mut Frame, _da: u8, _a: u8, db: u8, b: u8) -> u64 {
    let (dir, new) = (directory(frame, db), path(frame, b));
    // SAFETY: the paths are the program's, by the caller's promise.
    unsafe {
        let Some(text) = program_string(new) else { return PASS };
        let is_lock = lock_name(dir, text) == Some(LockName::Lock);
        makes(frame, dir, new, is_lock)
    }
}

/// # Safety
/// As [`link`]; `new` is its second name.
unsafe fn makes(frame: &mut Frame, dir: i32, new: *const u8, is_lock: bool) -> u64 {
    frame.note[0] = is_lock as u64 * MAKES_LOCK;
    let effect = if is_lock { SectionEffect::None } else { SectionEffect::Begins };
    // SAFETY: the paths are the program's, by the caller's promise.
    let action = unsafe { announce(frame, None, effect, |_| Operand::Entry(dir, new)) };
    comes_back(frame, action)
}

/// # Safety
/// The arguments are those of a call that makes a directory or a symbolic link.
pub unsafe fn make(frame: &mut Frame, dir: u8, name: u8) -> u64 {
    let (dir, new) = (directory(frame, dir), path(frame, name));
    // SAFETY: the paths are the program's, by the caller's promise.
    unsafe {
        let is_lock = are_named() && program_string(new).is_some_and(|text| is_named(dir, text));
        makes(frame, dir, new, is_lock)
    }
}

/// # Safety
/// The arguments are those of a call that removes a name.
pub unsafe fn unlink(frame: &mut Frame, dir: u8, name: u8) -> u64 {
    let (dir, name) = (directory(frame, dir), path(frame, name));
    // SAFETY: the paths are the program's, by the caller's promise.
    unsafe {
        frame.note[0] = 0;
        if !may_name_lock() {
            return announce(frame, None, SectionEffect::Begins, |_| Operand::Entry(dir, name));
        }
        let Some(text) = program_string(name) else { return PASS };
        let kind = lock_name(dir, text);
        // Only of a lock that this process holds: another file may have such a name too.
        let is_lock = note_removed_lock(frame, dir, name, kind);
        let effect = if is_lock { SectionEffect::None } else { SectionEffect::Begins };
        let action = announce(frame, None, effect, |_| Operand::Entry(dir, name));
        gone_unannounced(frame, action)
    }
}

/// # Safety
/// The arguments are those of a call that renames.
pub unsafe fn rename(frame: &mut Frame, da: u8, a: u8, db: u8, b: u8) -> u64 {
    let (from, old) = (directory(frame, da), path(frame, a));
    let (to, new) = (directory(frame, db), path(frame, b));
    descriptor_cache::forget();
    let target = |_: &Frame| Operand::Entries(from, old, to, new);
    frame.note = [0; 5];
    // SAFETY: the paths are the program's, by the caller's promise.
    unsafe {
        if !are_named() && !may_name_lock() {
            return announce(frame, None, SectionEffect::Begins, target);
        }
        let Some(text) = program_string(old) else { return PASS };
        let kind = lock_name(from, text);
        note_removed_lock(frame, from, old, kind);
        let makes_lock = are_named() && program_string(new).is_some_and(|text| is_named(to, text));
        frame.note[3] = makes_lock as u64;
        let action = announce(frame, None, SectionEffect::Begins, target);
        if makes_lock && action == PASS && region().is_some() {
            return BRACKET;
        }
        gone_unannounced(frame, action)
    }
}

/// After a rename.
///
/// # Safety
/// The frame's arguments are the program's.
pub unsafe fn renamed(frame: &mut Frame, region: &'static Region, dir: u8, name: u8) {
    dotlocks::unnamed(frame, region);
    if frame.note[3] != 0 && frame.int() == 0 {
        // SAFETY: the caller's promise; the call has succeeded.
        unsafe { dotlocks::named(frame, region, dir, name) };
    }
}
