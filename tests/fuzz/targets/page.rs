//! A control page of any bytes: believed only if it is ours, and its profile lies within.
#![no_main]

use gate::abi::Foreign;
use gate::control::{ControlPage, PROFILE_MAX, SIZE};
use gate::layout::noted_in;
use gate::profile::{self, KEYS};
use libfuzzer_sys::fuzz_target;

/// Aligned as a mapping is.
#[repr(C, align(4096))]
struct Memory([u8; SIZE]);

fuzz_target!(|data: &[u8]| {
    let _ = noted_in(data);
    // Up to 16 pokes (place, value), then what lies at the beginning.
    let mut memory = Box::new(Memory([0; SIZE]));
    let (pokes, head) = data.split_at(data.len().min(16 * 10));
    let len = head.len().min(SIZE);
    memory.0[..len].copy_from_slice(&head[..len]);
    for poke in pokes.chunks_exact(10) {
        let at = u16::from_le_bytes([poke[0], poke[1]]) as usize % (SIZE - 8);
        memory.0[at..at + 8].copy_from_slice(&poke[2..]);
    }
    // SAFETY: so many bytes, borrowed for as long; nothing writes them meanwhile.
    let foreign = unsafe { Foreign::new(memory.0.as_ptr(), SIZE) };
    let page: &ControlPage = foreign.at(0).expect("a page lies within");
    let _ = page.check(&[7; 16]);
    let text = page.profile_text();
    assert!(text.len() <= PROFILE_MAX);
    // One key an input: all of them are the same code.
    let key = KEYS[data.len() % KEYS.len()].1;
    let _ = profile::values(text, key).count();
});
