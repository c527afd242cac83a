//! The loader's own list of objects, read without a call: `dl_iterate_phdr` may be another
//! library's wrapper (ThreadSanitizer's), which asks `dlsym` for the real one first, and that is us.

use super::symbols::{Object, Versions, gnu_hash};
use crate::arch::instructions::{debug_of_loader, own_dynamic};
use core::ffi::c_char;
use linux_raw_sys::elf::Elf_Dyn;

/// `struct link_map` of <link.h>.
#[repr(C)]
struct LinkMap {
    base: usize,
    _name: *const c_char,
    dynamic: *const Elf_Dyn,
    next: *const LinkMap,
}

/// `struct r_debug` of <link.h>, as far as it is read here.
#[repr(C)]
struct Debug {
    _version: i32,
    first: *const LinkMap,
}

/// The function of this name in an object behind our own. None where the loader shows no list
/// (musl's has another name), or none defines it.
pub fn behind_us(name: &str) -> Option<usize> {
    let hash = gnu_hash(name.as_bytes(), 0, name.len());
    // SAFETY: null, or the loader's `_r_debug`, whose list holds objects that are loaded; each is there as
    // long as it is in the list. Not proven against a dlclose by another thread meanwhile: this is asked
    // before the library's start, which is before the program's.
    unsafe {
        let mut at = (debug_of_loader() as *const Debug).as_ref()?.first;
        let mut past_us = false;
        while let Some(map) = at.as_ref() {
            let found = past_us.then(|| Object::read(map.base, &[], map.dynamic)).flatten();
            let found = found.and_then(|object| object.find(name, hash, Versions::Default));
            if found.is_some() {
                return found;
            }
            past_us |= map.dynamic as usize == own_dynamic();
            at = map.next;
        }
    }
    None
}
