//! The real functions, by the number of the call.
//!
//! | module | duty |
//! |---|---|
//! | [`symbols`] | the loaded objects and what they define |
//! | [`libc`] | libc functions and variables that the library itself uses |
//! | [`loaded`] | the same objects by the loader's list, for a start within a start |
//! | [`look_up`] | what stands for a function that the program has looked up in libc's own handle |
//! | [`fallback`] | what stands for a function that this libc lacks |

mod fallback;
pub mod libc;
mod loaded;
pub mod look_up;
mod symbols;

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use gate::calls::{COUNT, Call, NAMES};
use linux_raw_sys::auxvec::AT_SYSINFO_EHDR;
use symbols::{Object, Scope, Versions, gnu_hash};

/// The real functions by the number of the call. The trampoline reads it.
pub static REAL: [AtomicUsize; COUNT] = [const { AtomicUsize::new(0) }; COUNT];

/// Looks up everything that the table and [`libc`] name. Safe to do twice.
pub fn all() {
    for scope in scopes() {
        look_up(scope, |line, object| object.find(line.name(), line.hash, Versions::Default));
        look_up(scope, |line, object| object.find(line.name(), line.hash, Versions::Any));
        look_up(scope, |line, object| {
            line.aliases().find_map(|name| object.find(name, hash_of(name), Versions::Any))
        });
    }
    for (slot, line) in REAL.iter().zip(&LINES).skip(1) {
        let _ = slot.compare_exchange(0, fallback::of(line.name()), AcqRel, Relaxed);
    }
    libc::resolve(find);
}

/// Looks up what the program may look others up with, and no more: before the library's start.
pub fn look_ups() {
    for (call, name) in [(Call::dlsym, "dlsym"), (Call::dlvsym, "dlvsym")] {
        let found = loaded::behind_us(name);
        if let (Some(slot), Some(address)) = (REAL.get(call as usize), found) {
            slot.store(address, Release);
        }
    }
}

/// Where the real functions are looked for. Not before our own object, unless libc is there and
/// not behind: an object before may be one whose wrapper has called ours.
fn scopes() -> impl Iterator<Item = Scope> {
    let libc_is_behind = || REAL.get(Call::write as usize).is_some_and(|w| w.load(Acquire) != 0);
    let before = core::iter::once(Scope::Before).filter(move |_| !libc_is_behind());
    core::iter::once(Scope::Next).chain(before)
}

/// Fills the places that are empty still, object by object.
fn look_up(scope: Scope, find: impl Fn(&Line, &Object) -> Option<usize>) {
    symbols::each(scope, |object| {
        let mut all_found = true;
        for (slot, line) in REAL.iter().zip(&LINES).skip(1) {
            if slot.load(Relaxed) == 0 {
                match find(line, object) {
                    Some(address) => slot.store(address, Release),
                    None => all_found = false,
                }
            }
        }
        !all_found
    });
}

/// A symbol that is no call of the table.
fn find(scope: Scope, name: &str) -> Option<usize> {
    let hash = hash_of(name);
    let mut found = None;
    for scope in [scope].into_iter().chain(scopes().skip(1)) {
        symbols::each(scope, |object| {
            found = found.or_else(|| object.find(name, hash, Versions::Default));
            found.is_none()
        });
    }
    found
}

fn hash_of(name: &str) -> u32 {
    gnu_hash(name.as_bytes(), 0, name.len())
}

/// Finds the clock that needs no system call.
pub fn vdso_clock() -> Option<usize> {
    const NAME: &str = "__vdso_clock_gettime";
    let image = libc::auxiliary(AT_SYSINFO_EHDR).filter(|image| *image != 0)?;
    // SAFETY: the kernel's own word of where it has mapped the vDSO.
    unsafe { symbols::in_vdso(image as usize, NAME, hash_of(NAME)) }
}

/// Is this call missing in the process's libc, with nothing that could stand for it?
pub fn is_missing(call: usize) -> bool {
    REAL.get(call).is_none_or(|real| fallback::is_missing(real.load(Relaxed)))
}

/// Whether the real function of this call is known.
pub fn is_known(call: u32) -> bool {
    REAL.get(call as usize).is_none_or(|real| real.load(Acquire) != 0)
}

/// Where a call's name lies in [`NAMES`], and its hash: a start of a program must not
/// spend its time on that.
struct Line {
    hash: u32,
    start: u16,
    name_len: u16,
    len: u16,
}

static LINES: [Line; COUNT] = lines();

const fn lines() -> [Line; COUNT] {
    let text = NAMES.as_bytes();
    let mut lines = [const { Line { hash: 0, start: 0, name_len: 0, len: 0 } }; COUNT];
    let (mut at, mut number) = (0, 1);
    while number < COUNT {
        let start = at;
        let mut name_len = 0;
        while text[at] != b'\n' {
            if text[at] == b' ' && name_len == 0 {
                name_len = at - start;
            }
            at += 1;
        }
        if name_len == 0 {
            name_len = at - start;
        }
        lines[number] = Line {
            hash: gnu_hash(text, start, name_len),
            start: start as u16,
            name_len: name_len as u16,
            len: (at - start) as u16,
        };
        at += 1;
        number += 1;
    }
    assert!(at == text.len() && text.len() < u16::MAX as usize);
    lines
}

impl Line {
    fn name(&self) -> &'static str {
        let start = self.start as usize;
        NAMES.get(start..start + self.name_len as usize).unwrap_or("")
    }

    fn aliases(&self) -> impl Iterator<Item = &'static str> {
        let start = self.start as usize;
        let rest = NAMES.get(start + self.name_len as usize..start + self.len as usize);
        rest.unwrap_or("").split([' ']).filter(|name| !name.is_empty())
    }
}
