//! x86_64: the straight way through an ordinary change.
//!
//! The barrier is down, no section is begun by it, the program has no profile flags, the
//! thread has its slot and is in no other call: that is nearly every change. It is
//! announced, looked at and taken back here, in some forty instructions; these are
//! [`crate::announce::announce`] and [`crate::announce::give_back`] for that case. In every
//! other case the announcement is taken back, and the general trampoline begins anew.
//!
//! For calls with up to six arguments, all in registers, that leave has nothing to do
//! for. r11 holds the call's bits of the thread's word.

use crate::this_process::state::{ORDINARY, WIPED};
use core::arch::global_asm;
use core::mem::offset_of;
use gate::region::{Header, SLOTS, SLOTS_OFFSET, Slot};
use gate::word::{CALL_SHIFT, ProcessWord, ThreadWord};

macro_rules! straight {
    ($name:literal, $($descriptor:literal),*) => {
        global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            ".balign 32",
            concat!($name, ":"),
            ".cfi_startproc",
            // Region and barrier, or none yet.
            "mov r10, [rip + {wiped}]",
            "test r10, r10",
            "je 9f",
            "cmp qword ptr [rip + {ordinary}], 0",
            "je 9f",
            // This thread's slot.
            "mov rax, [rip + writegate_thread@GOTTPOFF]",
            "mov rax, fs:[rax]",
            "dec rax",
            "cmp rax, {slots} - 1",
            "ja 9f",
            "shl rax, {slot_shift}",
            "lea r10, [r10 + rax + {slots_offset}]",
            "mov rax, [r10]",
            "test eax, {doing}",
            "jne 9f",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "push r10",
            "push r11",
            "mov [r10 + {stack}], rsp",
            // The next number, what is asked, and of which descriptor.
            "shr rax, 32",
            "inc eax",
            "shl rax, 32",
            "or rax, r11",
            $($descriptor,)*
            "mov [r10], rax",
            // The freezer's membarrier stands between this store and these loads.
            "mov rax, [rip + {ordinary}]",
            "cmp qword ptr [rax], 0",
            "jne 8f",
            "mov rax, [rip + {wiped}]",
            "mov rax, [rax + {process}]",
            "test ax, ax",
            "je 3f",
            // Under locks: goes on with a section that is open already.
            "and eax, {begun_mask}",
            "cmp eax, {begun}",
            "jne 8f",
            "3:",
            "add qword ptr [r10], {grant}",
            "mov eax, [rbp - 16]",
            "shr eax, {call_shift}",
            "and eax, {call_mask}",
            "lea r10, [rip + {real}]",
            "call [r10 + 8 * rax]",
            // In a child that a signal handler forked meanwhile, the word may be its
            // parent's, or lie elsewhere.
            "mov r10, [rip + {wiped}]",
            "test r10, r10",
            "je 4f",
            "mov r11, [rip + writegate_thread@GOTTPOFF]",
            "mov r11, fs:[r11]",
            "shl r11, {slot_shift}",
            "add r10, r11",
            "mov r11, {leave}",
            "and [r10 + {slots_offset} - {slot_size}], r11",
            "4:",
            ".cfi_remember_state",
            "leave",
            ".cfi_def_cfa rsp, 8",
            ".cfi_restore rbp",
            "ret",
            ".cfi_restore_state",
            "8:",
            "mov rax, {hold}",
            "add [r10], rax",
            "mov rax, {leave}",
            "and [r10], rax",
            "mov r11d, [rbp - 16]",
            "leave",
            ".cfi_def_cfa rsp, 8",
            ".cfi_restore rbp",
            "9:",
            "shr r11d, {call_shift}",
            "and r11d, {call_mask}",
            "jmp writegate_bracket",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            wiped = sym WIPED,
            ordinary = sym ORDINARY,
            real = sym crate::resolve::REAL,
            slots = const SLOTS,
            slot_size = const size_of::<Slot>(),
            slot_shift = const size_of::<Slot>().trailing_zeros(),
            slots_offset = const SLOTS_OFFSET,
            stack = const offset_of!(Slot, stack),
            process = const offset_of!(Header, process),
            doing = const ThreadWord::DOING as u32,
            begun_mask = const ProcessWord::BEGUN_MASK as u32,
            begun = const ProcessWord::BEGUN as u32,
            call_shift = const CALL_SHIFT,
            call_mask = const (1u32 << gate::word::CALL_BITS) - 1,
            grant = const ThreadWord::GRANT as i64,
            hold = const ThreadWord::HOLD as i64,
            leave = const ThreadWord::LEAVE as i64,
        );
    };
}

straight!("writegate_straight",);
straight!(
    "writegate_straight_fd",
    // ThreadWord::enter: the descriptor and 1, if that can be shown.
    "lea r11d, [rdi + 1]",
    "cmp r11d, 0xfffff",
    "ja 2f",
    "or rax, r11",
    "2:"
);

/// The body of an export that nearly always goes straight through: `fd` is its first
/// argument, or it shows no descriptor.
macro_rules! straight_bracket {
    ($call:expr, $way:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {bits}",
            concat!("jmp ", $way),
            ".cfi_endproc",
            bits = const gate::word::ThreadWord::asking($call as u16) as u32,
        )
    };
}

pub(crate) use straight_bracket;
