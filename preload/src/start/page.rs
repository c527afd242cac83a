//! The gate's control page: opened, checked, mapped; made where there is none.

use super::environment::Environment;
use crate::clock::boot_id;
use crate::linux::{files, memory, process};
use crate::text::Path;
use core::sync::atomic::Ordering::{Relaxed, Release};
use gate::control::{ControlPage, MAGIC, PROFILE_MAX, PROFILE_REFUSED, SIZE};
use gate::layout::LAYOUT;
use gate::profile;
use linux_raw_sys::errno::ENOENT;
use linux_raw_sys::general::{AT_FDCWD, O_NOFOLLOW, S_IWGRP, S_IWOTH};

/// A page that was changed so soon after the boot may be of the boot before.
const DOUBTFUL_S: i64 = 120;

/// Opens and maps the control page; makes it where there is none and it may.
pub fn open(env: &Environment) -> Option<*const ControlPage> {
    let mut path = Path::new();
    for part in [env.dir, b"/", env.gate, b"/control"] {
        path.push(part);
    }
    if path.too_long {
        return None;
    }
    // SAFETY: a `Buffer` always ends with a NUL.
    let mut fd = unsafe { files::open(AT_FDCWD, path.c(), O_NOFOLLOW) };
    if fd == -(ENOENT as isize) && env.asked_for {
        make(env, &boot_id(), &path);
        // SAFETY: a `Buffer` always ends with a NUL.
        fd = unsafe { files::open(AT_FDCWD, path.c(), O_NOFOLLOW) };
    }
    if fd < 0 {
        return None;
    }
    let fd = fd as i32;
    let stat = files::fstat(fd)?;
    // Written by others, truncated, not a file: foreign. Nothing is believed.
    let sound = stat.is_file()
        && stat.size == SIZE as i64
        && stat.mode & (S_IWGRP | S_IWOTH) == 0
        && (stat.uid == 0 || stat.uid == process::euid());
    let page = if sound { memory::map(SIZE, false, fd) } else { core::ptr::null_mut() };
    files::close(fd);
    if page.is_null() {
        return None;
    }
    // Reading the boot id costs as much as all the rest. A page that was clearly
    // made after this boot needs no look; should the clock have been stepped, the
    // first closed barrier looks (`clock::is_foreign`).
    let page = page as *const ControlPage;
    // SAFETY: a page's size was mapped just now, of a file that is as long.
    let page_boot_id = unsafe { (*page).boot_id };
    if stat.changed < process::boot_time() + DOUBTFUL_S && page_boot_id != boot_id() {
        // SAFETY: nothing refers to it.
        unsafe { memory::unmap(page.cast_mut().cast(), SIZE) };
        return None;
    }
    Some(page)
}

/// Makes the gate's directory and page: so that one line in the unit is enough.
fn make(env: &Environment, boot: &[u8; 16], path: &Path) {
    let mut part = Path::new();
    part.push(env.dir);
    // SAFETY: a `Buffer` always ends with a NUL. The mapping is of the size of a page, of a
    // file of this process's own that is as long and all zero, which is a valid page; its one
    // reference is gone when it is unmapped.
    unsafe {
        files::mkdir(part.c());
        part.push(b"/");
        part.push(env.gate);
        files::mkdir(part.c());
        part.push(b"/.control.");
        part.push_number(process::pid() as u64);
        part.push(b".");
        part.push_number(process::random());
        let fd = files::create(part.c(), 0o644);
        if fd < 0 {
            return;
        }
        let fd = fd as i32;
        if files::truncate(fd, SIZE) == 0 {
            let at = memory::map(SIZE, true, fd);
            if let Some(page) = at.cast::<ControlPage>().as_mut() {
                fill(page, env, boot);
                memory::unmap(at, SIZE);
                // link, not rename: the first one stands.
                files::link(part.c(), path.c());
            }
        }
        files::close(fd);
        files::unlink(part.c());
    }
}

fn fill(page: &mut ControlPage, env: &Environment, boot: &[u8; 16]) {
    page.layout.store(LAYOUT, Relaxed);
    page.size.store(SIZE as u32, Relaxed);
    page.boot_id = *boot;
    let mut path = Path::new();
    if env.config.is_empty() {
        for part in [b"/etc/writegate/" as &[u8], env.gate, b".conf"] {
            path.push(part);
        }
    } else {
        path.push(env.config);
    }
    // SAFETY: a `Buffer` always ends with a NUL.
    let len = unsafe { files::read_file(path.c(), &mut page.profile) };
    let sound = len < PROFILE_MAX
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
