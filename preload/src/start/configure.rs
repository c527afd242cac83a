//! The settings, from profile and environment.

use super::environment::Environment;
use crate::linux::files::{read_at, stat_at};
use crate::linux::memory;
use crate::this_process::settings::Settings;
use core::mem::offset_of;
use core::sync::atomic::Ordering::Acquire;
use gate::control::{ControlPage, PROFILE_MAX};
use gate::places::NAMED_SEPARATOR;
use gate::profile::{self, Index, Key};
use linux_raw_sys::general::AT_FDCWD;

/// Copies the profile out of the page's file; false: it does not fit, or has a fault.
pub fn take_profile(settings: &mut Settings, control: &ControlPage, file: i32) -> bool {
    let len = match control.profile_len.load(Acquire) as usize {
        // Refused, or a length that is a lie: none.
        len if len > PROFILE_MAX => 0,
        len => len,
    };
    // Read, not taken from the mapping: where a page's file has a hole and its file system is
    // full, a look at that kills.
    let at = offset_of!(ControlPage, profile);
    if !settings.profile.fill(len, |buffer| read_at(file, buffer, at) == len as isize) {
        return false;
    }
    let index = Index::of(settings.profile.str());
    settings.index = index.unwrap_or(Index::EMPTY);
    index.is_some()
}

/// Protected and excluded paths, of environment and profile, however many. False: there is no
/// memory for them; half a list would protect half.
pub fn configure(settings: &mut Settings, env: &Environment) -> bool {
    let profile = settings.profile.str();
    let of_profile = || profile::values(profile, Key::Path).map(str::as_bytes);
    let of_environment = || env.paths.split(is_colon).filter(|path| !path.is_empty());
    let from_profile = env.paths.is_empty();
    let sizes = |sum: (usize, usize), path: &[u8]| (sum.0 + 1, sum.1 + path.len() + 1);
    let (count, bytes) = match from_profile {
        true => of_profile().fold((0, 0), sizes),
        false => of_environment().fold((0, 0), sizes),
    };
    let Some(mut devices) = allocate::<u64>(count) else { return false };
    // One text: the directories, what separates the two, the exclusions.
    let size = bytes + 1 + env.exclude.len();
    let Some(mut paths) = allocate::<u8>(size) else { return false };
    let mut add = |path: &[u8]| {
        let start = paths.len;
        paths.extend(path.iter().copied());
        // A NUL for the kernel first, then what separates them.
        paths.extend([0]);
        let name = paths.filled().get(start..).unwrap_or(b"\0").as_ptr();
        // SAFETY: the path's bytes and a NUL were put there just now.
        if let Some(stat) = unsafe { stat_at(AT_FDCWD, name) } {
            devices.extend([stat.dev]);
        }
        paths.len -= 1;
        paths.extend([b':']);
    };
    match from_profile {
        true => of_profile().for_each(&mut add),
        false => of_environment().for_each(&mut add),
    }
    paths.extend([NAMED_SEPARATOR]);
    paths.extend(env.exclude.iter().copied());
    settings.set_places(paths.done(), devices.done());
    true
}

fn is_colon(byte: &u8) -> bool {
    *byte == b':'
}

/// A list in memory of its own, filled once and kept as long as the process lives.
struct List<T: Copy + 'static> {
    room: &'static mut [T],
    len: usize,
}

/// Integers, of which all zero bytes are a value.
trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for u64 {}

fn allocate<T: Plain>(count: usize) -> Option<List<T>> {
    if count == 0 {
        return Some(List { room: &mut [], len: 0 });
    }
    let at = memory::allocate(count.checked_mul(size_of::<T>())?).cast::<T>();
    if at.is_null() {
        return None;
    }
    // SAFETY: that much memory was mapped just now, begins with a page, is all zero, which is a
    // value of each T, and is known to nobody else; it is never unmapped.
    let room = unsafe { core::slice::from_raw_parts_mut(at, count) };
    Some(List { room, len: 0 })
}

impl<T: Copy> List<T> {
    fn extend(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            if let Some(place) = self.room.get_mut(self.len) {
                *place = value;
                self.len += 1;
            }
        }
    }

    fn filled(&self) -> &[T] {
        self.room.get(..self.len).unwrap_or(&[])
    }

    fn done(self) -> &'static [T] {
        let room: &'static [T] = self.room;
        room.get(..self.len).unwrap_or(&[])
    }
}
