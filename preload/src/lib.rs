//! `libwritegate.so`: the hooks that stand in front of libc.
//!
//! This code runs inside somebody else's mail server. Its rules:
//!
//! 1. A hook never allocates, takes a lock, logs, panics or unwinds. What it
//!    needs was looked up before ([`resolve`], [`start`]).
//! 2. It is async-signal-safe and re-entrant, and needs little stack.
//! 3. errno, results, cancellation points and the stack's unwinding are those of
//!    the real call: a naked trampoline ([`arch`]) calls Rust for *enter* and
//!    *leave* only, so that no Rust frame lies under the real call.
//! 4. A child that shares its parent's memory touches nothing that is its
//!    parent's; a forked child never announces in its parent's region.
//! 5. If anything is missing the process runs on ungated, visibly (`writegate
//!    doctor`); it never fails because of us.
//! 6. No dependency beyond the libc that is there already, found at run time:
//!    one file serves every glibc and musl.
//!
//! What decides is not here but in the crate `gate`; this crate is FFI only.
//!
//! | module | duty |
//! |---|---|
//! | [`arch`] | what differs by processor: trampolines, system calls, thread-local word |
//! | [`exports`] | the exported names, made from the table |
//! | [`resolve`] | finding the real functions |
//! | [`fallback`] | what stands for a function that this libc lacks |
//! | [`start`] | the constructor: environment, control page, region, locks after exec |
//! | [`state`] | the few statics |
//! | [`own`] | this process's region: making it, adopting after fork, thread slots |
//! | [`enter`] | announce, look, wait; leave |
//! | [`place`] | does a call change a protected file? |
//! | [`change`] | what a change that may be made means for the section |
//! | [`rules`] | one function for each rule of the table |
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

mod arch;
mod change;
mod enter;
mod exports;
mod fallback;
mod frame;
mod hand_over;
mod judged;
mod own;
mod place;
mod resolve;
mod rules;
mod start;
mod state;
mod sys;
mod text;

/// Says this library's layout of shared memory, also of a process that shows no region:
/// the linker keeps notes.
#[used]
#[unsafe(link_section = ".note.writegate")]
static LAYOUT_NOTE: gate::layout::Note = gate::layout::NOTE;

/// There is nothing to unwind to and nobody to tell; a panic here is a bug, and
/// the compiler removes every path to it that it can (tests/exports counts).
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::die()
}
