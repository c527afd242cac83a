//! The real functions, by the number of the call.
//!
//! | module | duty |
//! |---|---|
//! | [`symbols`] | the loaded objects and what they define |
//! | [`libc`] | libc functions and variables that the library itself uses |
//! | [`fallback`] | what stands for a function that this libc lacks |

mod fallback;
pub mod libc;
mod symbols;

use core::sync::atomic::{AtomicUsize, Ordering};
use gate::calls::{COUNT, NAMES};
use symbols::{Loaded, Objects, gnu_hash};

/// The real functions by the number of the call. The trampoline reads it.
pub static REAL: [AtomicUsize; COUNT] = [const { AtomicUsize::new(0) }; COUNT];

/// Looks up everything that the table and [`libc`] name. Safe to do twice.
pub fn all() {
    let mut loaded = Loaded::new();
    loaded.look();
    let (next, all) = (loaded.next(), loaded.all());
    let find = |objects: Objects<'_>, name: &str| {
        objects.find(name, gnu_hash(name.as_bytes(), 0, name.len()))
    };
    for (slot, line) in REAL.iter().zip(&LINES).skip(1) {
        let real = next.find(line.name(), line.hash);
        let real = real.or_else(|| line.aliases().find_map(|name| find(next, name)));
        slot.store(real.unwrap_or_else(|| fallback::of(line.name())), Ordering::Release);
    }
    libc::resolve(|name| find(next, name), |name| find(all, name));
}

/// Is this call missing in the process's libc, with nothing that could stand for it?
pub fn is_missing(call: usize) -> bool {
    REAL.get(call).is_none_or(|real| fallback::is_missing(real.load(Ordering::Relaxed)))
}

/// Whether the real function of this call is known.
pub fn is_known(call: u32) -> bool {
    REAL.get(call as usize).is_none_or(|real| real.load(Ordering::Acquire) != 0)
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
