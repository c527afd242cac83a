//! x86_64: `fork` and the waits for a child, in their ordinary cases.
//!
//! A fork under no lock, from no other call, jumps to the real one: what [`crate::rules::children::fork`] would look at
//! is looked at here. A wait calls the real one, and comes to `leave` only where that has found a child; this is
//! [`crate::rules::waits::reap`] for a program without `until-wait`. In every other case the general trampoline begins anew.

use crate::frame::{Frame, Leave};
use crate::this_process::profile_flags::PROFILE_FLAGS;
use crate::this_process::state::WIPED;
use core::arch::global_asm;
use core::mem::offset_of;
use gate::profile::Key;

/// The body of `fork` and its kind.
macro_rules! fork_bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {call}",
            "mov r10, [rip + {wiped}]",
            "test r10, r10",
            "je writegate_bracket",
            "cmp byte ptr [rip + {not_wiped}], 0",
            "jne writegate_bracket",
            "cmp qword ptr [rip + {mailbox}], 0",
            "je writegate_bracket",
            "cmp word ptr [r10 + {process}], 0",
            "jne writegate_bracket",
            // This thread's slot shows no call.
            "mov rax, [rip + writegate_thread@GOTTPOFF]",
            "mov rax, fs:[rax]",
            "dec rax",
            "cmp rax, {slots} - 1",
            "ja writegate_bracket",
            "shl rax, {slot_shift}",
            "test dword ptr [r10 + rax + {slots_offset}], {doing}",
            "jne writegate_bracket",
            "mov r10, [rip + {real} + 8 * {call}]",
            "test r10, r10",
            "je writegate_bracket",
            "jmp r10",
            ".cfi_endproc",
            call = const $call as u32,
            wiped = sym crate::this_process::state::WIPED,
            not_wiped = sym crate::this_process::state::NOT_WIPED,
            mailbox = sym crate::this_process::mailbox::MAILBOX,
            process = const core::mem::offset_of!(gate::region::Header, process),
            slots = const gate::region::SLOTS,
            slot_shift = const size_of::<gate::region::Slot>().trailing_zeros(),
            slots_offset = const gate::region::SLOTS_OFFSET,
            doing = const gate::word::ThreadWord::DOING as u32,
            real = sym crate::resolve::REAL,
        )
    };
}

macro_rules! reap {
    ($name:literal, $status:literal) => {
        global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            ".balign 32",
            concat!($name, ":"),
            ".cfi_startproc",
            "cmp qword ptr [rip + {wiped}], 0",
            "je writegate_bracket",
            "test dword ptr [rip + {flags}], {until_wait}",
            "jne writegate_bracket",
            "lea r10, [rip + {real}]",
            "mov r10, [r10 + 8 * r11]",
            "test r10, r10",
            "je writegate_bracket",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "sub rsp, {size}",
            "mov [rsp + 56], r11",
            // The program does not ask how its child has ended; the library does.
            "lea rax, [rsp + {note}]",
            concat!("test ", $status, ", ", $status),
            concat!("cmove ", $status, ", rax"),
            "mov [rsp], rdi",
            "mov [rsp + 8], rsi",
            "mov [rsp + 16], rdx",
            "call r10",
            "test eax, eax",
            ".cfi_remember_state",
            "jg 2f",
            "leave",
            ".cfi_def_cfa rsp, 8",
            ".cfi_restore rbp",
            "ret",
            ".cfi_restore_state",
            "2:",
            "mov [rsp + {result}], rax",
            "mov rax, [rsp + 56]",
            "mov [rsp + {inner}], ax",
            "mov byte ptr [rsp + {leave_how}], {nothing}",
            "mov rdi, rsp",
            "call {leave}",
            "mov rax, [rsp + {result}]",
            "leave",
            ".cfi_def_cfa rsp, 8",
            ".cfi_restore rbp",
            "ret",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            wiped = sym WIPED,
            flags = sym PROFILE_FLAGS,
            until_wait = const Key::UntilWait.flag(),
            real = sym crate::resolve::REAL,
            size = const size_of::<Frame>(),
            note = const offset_of!(Frame, note),
            result = const offset_of!(Frame, result),
            inner = const offset_of!(Frame, inner),
            leave_how = const offset_of!(Frame, leave),
            nothing = const Leave::Nothing as u8,
            leave = sym crate::hook::writegate_leave,
        );
    };
}

// By which argument says where the child's status goes (`rules::waits::status_argument`).
reap!("writegate_reap_first", "rdi");
reap!("writegate_reap_second", "rsi");

/// The body of `wait` and its kind, but for `waitid`, whose result is no child's id.
macro_rules! reap_bracket {
    ($call:expr, $way:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {call}",
            concat!("jmp ", $way),
            ".cfi_endproc",
            call = const $call as u32,
        )
    };
}

pub(crate) use {fork_bracket, reap_bracket};
