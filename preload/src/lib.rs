//! `libwritegate.so`: the hooks that stand in front of libc.
//!
//! This code runs inside an unmodified mail server. Its rules:
//!
//! 1. A hook never allocates, takes a lock, logs, panics or unwinds. What it
//!    needs was looked up before ([`resolve`], [`start`]).
//! 2. It is async-signal-safe and re-entrant, and needs little stack. The largest frames
//!    of a hook hold one path, 1.1 KiB, on slow paths only. Twice it is more: the look at
//!    the kernel's locks after a child that may have taken some ([`kernel_locks`], 3.4 KiB),
//!    and the start, which a hook makes if it is called before the constructor (7 KiB).
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
//! Imports point downwards in this list; a folder's table stands in its `mod.rs`:
//!
//! | module | duty |
//! |---|---|
//! | [`exports`] | the exported names, made from the table |
//! | [`arch`] | what differs by processor: trampolines on top, single instructions at the bottom |
//! | [`hook`] | before and after the real call; the destructor |
//! | [`start`] | the constructor: environment, control page, region, locks after exec |
//! | [`rules`] | one function for each rule of the table |
//! | [`announce`] | announce a call, look, wait; give the word back |
//! | [`change`] | what a change that may be made means for the section |
//! | [`barrier`] | the barrier as this process sees it, and waiting at it |
//! | [`kernel_locks`] | the locks that the kernel says are held |
//! | [`protected`] | does a call change a protected file? |
//! | [`clock`] | is the control page's clock this process's? |
//! | [`this_process`] | what this process knows of itself: region, slots, lock table, settings |
//! | [`rule_table`] | the rule of a call |
//! | [`resolve`] | finding the real functions |
//! | [`frame`] | what the trampoline saves of a call |
//! | [`program_memory`] | what the program passed by a pointer |
//! | [`linux`] | raw system calls |
//! | [`hash`] | spreading bits |
//! | [`text`] | text work without allocation |
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

mod announce;
mod arch;
mod barrier;
mod change;
mod clock;
mod exports;
mod frame;
mod hash;
mod hook;
mod kernel_locks;
mod linux;
mod program_memory;
mod protected;
mod resolve;
mod rule_table;
mod rules;
mod start;
mod text;
mod this_process;

/// Says this library's layout of shared memory, also of a process that shows no region:
/// the linker keeps notes.
#[used]
#[unsafe(link_section = ".note.writegate")]
static LAYOUT_NOTE: gate::layout::Note = gate::layout::NOTE;

/// There is nothing to unwind to and no place to tell it; a panic here is a bug, and
/// the compiler removes every path to it that it can (tests/library/exports counts).
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    linux::process::die()
}
