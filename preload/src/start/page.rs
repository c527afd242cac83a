//! The gate's control page: opened, checked, mapped; made where there is none.
//!
//! What stands in its place may be anything, and its file system full. Nothing of it is
//! believed, or looked at through a mapping, before it was read.

use super::environment::Environment;
use super::mark;
use super::status::Status;
use crate::clock::boot_id;
use crate::linux::signals::Blocked;
use crate::linux::{confined, files, memory, process, time};
use crate::resolve::libc::auxiliary;
use crate::text::Path;
use core::mem::offset_of;
use core::sync::atomic::Ordering::{Relaxed, Release};
use gate::control::{ControlPage, MAGIC, PROFILE_MAX, PROFILE_REFUSED, SIZE};
use gate::layout::LAYOUT;
use gate::profile;
use linux_raw_sys::auxvec::AT_EUID;
use linux_raw_sys::errno::{EINVAL, ENOENT};
use linux_raw_sys::general::{O_NOFOLLOW, S_IWGRP, S_IWOTH};

/// A page that was changed so soon after the boot may be of the boot before.
const DOUBTFUL_S: i64 = 120;

/// A page that is sound, its file still open, and what the kernel says of this process.
pub struct Opened {
    pub page: *const ControlPage,
    pub file: i32,
    pub status: Status,
}

/// Opens and maps the control page; makes it where there is none and it may.
pub fn open(env: &Environment) -> Option<Opened> {
    let mut path = Path::new();
    for part in [env.dir, b"/", env.gate, b"/control"] {
        path.push(part);
    }
    if path.too_long {
        return None;
    }
    // SAFETY: a `Buffer` always ends with a NUL.
    let open = || unsafe { files::open_carefully(path.c(), O_NOFOLLOW) };
    let mut fd = open();
    let may_make = fd == -(ENOENT as isize) && env.asked_for;
    if fd < 0 && !may_make {
        return None;
    }
    let status = super::status::read();
    if status.filtered {
        confined::from_before();
    }
    if may_make {
        make_safely(env, &status, &path);
        fd = open();
    }
    if fd < 0 {
        return None;
    }
    let fd = fd as i32;
    let page = map(fd);
    if page.is_none() {
        files::close(fd);
    }
    page.map(|page| Opened { page, file: fd, status })
}

/// Maps it if it is what it should be.
fn map(fd: i32) -> Option<*const ControlPage> {
    let stat = files::fstat_at_start(fd)?;
    // Written by others, truncated, not a file: foreign. Nothing is believed.
    let sound = stat.is_file()
        && stat.size == SIZE as i64
        && stat.mode & (S_IWGRP | S_IWOTH) == 0
        && (stat.uid == 0 || auxiliary(AT_EUID) == Some(stat.uid as u64));
    if !sound || !has_a_head(fd, stat.changed) {
        return None;
    }
    let page = memory::map(SIZE, false, fd);
    (!page.is_null()).then_some(page as *const ControlPage)
}

/// Does the file begin as a page of this layout and boot does? Read, not looked at through a
/// mapping: a hole where the file system is full would kill. What has a magic number is none.
fn has_a_head(fd: i32, changed: i64) -> bool {
    const BOOT: usize = offset_of!(ControlPage, boot_id);
    const LEN: usize = BOOT + 16;
    let mut head = [0u8; LEN];
    if files::read_at(fd, &mut head, 0) != LEN as isize {
        return false;
    }
    let word = |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let word = |at: usize| word(at).map(u32::from_ne_bytes);
    let is_a_page = head.starts_with(&MAGIC.to_ne_bytes())
        && word(offset_of!(ControlPage, layout)) == Some(LAYOUT)
        && word(offset_of!(ControlPage, size)) == Some(SIZE as u32);
    // Reading the boot id costs as much as all the rest. A page that was clearly
    // made after this boot needs no look; should the clock have been stepped, the
    // first closed barrier looks (`clock::is_foreign`).
    let doubtful = confined::at_all() || changed < time::boot_time() + DOUBTFUL_S;
    is_a_page
        && (!doubtful
            || head.get(BOOT..) == Some(&boot_id(&Blocked::not_at_the_start()))
            || lives_in_memory(fd))
}

/// Then it is of this boot, whatever its id says: a process may see none (ProcSubset=pid), and a
/// container may be shown one of its own. In a child where a filter might kill for the question.
fn lives_in_memory(fd: i32) -> bool {
    match confined::at_all() {
        true => process::in_a_child(|| files::lives_in_memory(fd)),
        false => files::lives_in_memory(fd),
    }
}

/// As [`make`], in a child where a filter might kill for it.
fn make_safely(env: &Environment, status: &Status, path: &Path) {
    let maker = status.pid.unwrap_or_else(process::pid);
    if confined::at_all() {
        process::in_a_child(|| {
            make(env, maker, path);
            true
        });
    } else {
        make(env, maker, path);
    }
}

/// Makes the gate's directory and page: so that one line in the unit is enough.
fn make(env: &Environment, maker: i32, path: &Path) {
    const MODE: usize = 0o644;
    // Beyond its limit a write is a deadly signal.
    if !process::may_write(SIZE as u64) {
        return;
    }
    let content = memory::allocate(SIZE);
    // SAFETY: null, or memory of that size that the kernel has mapped just now, all zero, which
    // is a valid page; known to this function alone.
    let Some(page) = (unsafe { content.cast::<ControlPage>().as_mut() }) else { return };
    fill(page, env, &boot_id(&Blocked::not_at_the_start()));
    let mut part = Path::new();
    part.push(env.dir);
    // SAFETY: a `Buffer` always ends with a NUL. The memory of the page is read as bytes, and
    // unmapped when nothing refers to it any more.
    unsafe {
        files::mkdir(part.c());
        part.push(b"/");
        part.push(env.gate);
        files::mkdir(part.c());
        part.push(b"/.control.");
        part.push_number(maker as u64);
        part.push(b".");
        part.push_number(process::random());
        let fd = if part.too_long { -1 } else { files::create(part.c(), MODE) };
        if fd >= 0 {
            let fd = fd as i32;
            files::set_mode(fd, MODE);
            // Written, not stored through a mapping: a full file system is an error then.
            let bytes = core::slice::from_raw_parts(content.cast_const(), SIZE);
            if files::write(fd, bytes) == SIZE as isize {
                // link, not rename: the first one stands.
                files::link(part.c(), path.c());
            }
            files::close(fd);
            files::unlink(part.c());
        }
        memory::unmap(content, SIZE);
    }
}

/// What [`files::read_file`] says of a FIFO, a device, a directory.
const NOT_A_FILE: isize = -(EINVAL as isize);

fn fill(page: &mut ControlPage, env: &Environment, boot: &[u8; 16]) {
    page.layout.store(LAYOUT, Relaxed);
    page.size.store(SIZE as u32, Relaxed);
    page.boot_id = *boot;
    page.made_in.store(mark::own_namespace(), Relaxed);
    let mut path = Path::new();
    if env.config.is_empty() {
        for part in [b"/etc/writegate/" as &[u8], env.gate, b".conf"] {
            path.push(part);
        }
    } else {
        path.push(env.config);
    }
    // SAFETY: a `Buffer` always ends with a NUL.
    let read =
        unsafe { files::read_file(&Blocked::not_at_the_start(), path.c(), &mut page.profile) };
    let len = match read {
        Ok(len) => len,
        // There need not be one of the gate's name; one that was named must be.
        Err(error) if error != NOT_A_FILE && env.config.is_empty() => 0,
        Err(_) => PROFILE_MAX,
    };
    let sound = len < PROFILE_MAX
        && !path.too_long
        && page
            .profile
            .get(..len)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .is_some_and(|text| profile::check(text).is_ok());
    // A profile with a fault is not half believed; the command refuses to freeze and says
    // what is wrong.
    page.profile_len.store(if sound { len as u32 } else { PROFILE_REFUSED }, Relaxed);
    page.magic.store(MAGIC, Release);
}
