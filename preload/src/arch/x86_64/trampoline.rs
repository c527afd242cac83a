//! x86_64: the trampolines, which are the bodies of all exports.

use crate::frame::Frame;
use core::arch::global_asm;

// The one body of all exports. r11 holds the call's number, the arguments are in
// their registers and, for the seventh argument of syscall(), on the stack.
//
//   writegate_enter(&frame) -> 0: jump to the real call, nothing to do afterwards
//                              1: call it, then writegate_leave(&frame)
//                              2: the frame holds the result already
//
// rbp-based CFA: unwinding (exceptions, cancellation, backtraces) works at every
// instruction. No Rust frame is on the stack while the real call runs.
global_asm!(
    ".pushsection .text.writegate_bracket,\"ax\",@progbits",
    ".globl writegate_bracket",
    ".hidden writegate_bracket",
    ".type writegate_bracket,@function",
    ".balign 32",
    "writegate_bracket:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "sub rsp, {size}",
    "mov [rsp], rdi",
    "mov [rsp + 8], rsi",
    "mov [rsp + 16], rdx",
    "mov [rsp + 24], rcx",
    "mov [rsp + 32], r8",
    "mov [rsp + 40], r9",
    "mov [rsp + 48], rax",
    "mov [rsp + 56], r11",
    "mov rdi, rsp",
    "call {enter}",
    "mov r11, [rsp + 56]",
    "mov r11d, r11d",
    "lea r10, [rip + {real}]",
    "mov r10, [r10 + 8 * r11]",
    "mov rdi, [rsp]",
    "mov rsi, [rsp + 8]",
    "mov rdx, [rsp + 16]",
    "mov rcx, [rsp + 24]",
    "mov r8, [rsp + 32]",
    "mov r9, [rsp + 40]",
    "cmp eax, 1",
    "je 2f",
    "ja 3f",
    "mov rax, [rsp + 48]",
    ".cfi_remember_state",
    "leave",
    ".cfi_def_cfa rsp, 8",
    ".cfi_restore rbp",
    "jmp r10",
    ".cfi_restore_state",
    "2:",
    // The seventh argument, of a call that has one.
    "sub rsp, 16",
    "mov rax, [rbp + 16]",
    "mov [rsp], rax",
    "mov rax, [rsp + 64]",
    "call r10",
    "add rsp, 16",
    "mov [rsp + 48], rax",
    "mov rdi, rsp",
    "call {leave}",
    "3:",
    "mov rax, [rsp + 48]",
    "leave",
    ".cfi_def_cfa rsp, 8",
    ".cfi_restore rbp",
    "ret",
    ".cfi_endproc",
    ".size writegate_bracket, . - writegate_bracket",
    ".popsection",
    size = const core::mem::size_of::<Frame>(),
    enter = sym crate::hook::writegate_enter,
    leave = sym crate::hook::writegate_leave,
    real = sym crate::resolve::REAL,
);

/// The body of an export with fixed arguments.
macro_rules! bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {call}",
            "jmp writegate_bracket",
            ".cfi_endproc",
            call = const $call as u32,
        )
    };
}

/// The body of an export with variable arguments: builds the `va_list` that the
/// System V ABI describes and calls the sibling that takes one. `$named` arguments
/// come before the list, so the list is argument number `$named`.
macro_rules! with_va_list {
    ($call:expr, 1) => { with_va_list!(@ $call, 1, "lea rsi, [rsp]") };
    ($call:expr, 2) => { with_va_list!(@ $call, 2, "lea rdx, [rsp]") };
    ($call:expr, 3) => { with_va_list!(@ $call, 3, "lea rcx, [rsp]") };
    (@ $call:expr, $named:literal, $list:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "sub rsp, 216",
            ".cfi_def_cfa_offset 224",
            "mov [rsp + 32], rdi",
            "mov [rsp + 40], rsi",
            "mov [rsp + 48], rdx",
            "mov [rsp + 56], rcx",
            "mov [rsp + 64], r8",
            "mov [rsp + 72], r9",
            "test al, al",
            "je 2f",
            "movaps [rsp + 80], xmm0",
            "movaps [rsp + 96], xmm1",
            "movaps [rsp + 112], xmm2",
            "movaps [rsp + 128], xmm3",
            "movaps [rsp + 144], xmm4",
            "movaps [rsp + 160], xmm5",
            "movaps [rsp + 176], xmm6",
            "movaps [rsp + 192], xmm7",
            "2:",
            "mov dword ptr [rsp], {gp}",
            "mov dword ptr [rsp + 4], 48",
            "lea rax, [rsp + 224]",
            "mov [rsp + 8], rax",
            "lea rax, [rsp + 32]",
            "mov [rsp + 16], rax",
            $list,
            "xor eax, eax",
            "mov r11d, {call}",
            "call writegate_bracket",
            "add rsp, 216",
            ".cfi_def_cfa_offset 8",
            "ret",
            ".cfi_endproc",
            gp = const 8 * $named,
            call = const $call as u32,
        )
    };
}

/// The body of an export of exec's kind whose arguments follow each other, the second to the sixth in
/// registers: they are put below those on the stack, in the place of the return address too, and
/// are the array of the sibling that takes one. If it comes back, they make room again.
macro_rules! with_argv {
    (execve) => {
        // The environment stands behind the array's end.
        with_argv!(@ execve,
            "mov rdx, rsi",
            "2:",
            "cmp qword ptr [rdx], 0",
            "lea rdx, [rdx + 8]",
            "jne 2b",
            "mov rdx, [rdx]",
        )
    };
    ($call:ident) => { with_argv!(@ $call,) };
    (@ $call:ident, $($environment:literal,)*) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "pop r11",
            ".cfi_def_cfa_offset 0",
            // The return address, 16, is in r11.
            ".cfi_register 16, 11",
            "push r9",
            ".cfi_def_cfa_offset 8",
            "push r8",
            ".cfi_def_cfa_offset 16",
            "push rcx",
            ".cfi_def_cfa_offset 24",
            "push rdx",
            ".cfi_def_cfa_offset 32",
            "push rsi",
            ".cfi_def_cfa_offset 40",
            "mov rsi, rsp",
            "push r11",
            ".cfi_def_cfa_offset 48",
            ".cfi_offset 16, -48",
            $($environment,)*
            "mov r11d, {call}",
            "call writegate_bracket",
            "pop r11",
            ".cfi_def_cfa_offset 40",
            ".cfi_register 16, 11",
            "add rsp, 40",
            ".cfi_def_cfa_offset 0",
            "push r11",
            ".cfi_def_cfa_offset 8",
            ".cfi_offset 16, -8",
            "ret",
            ".cfi_endproc",
            call = const Call::$call as u32,
        )
    };
}

pub(crate) use {bracket, with_argv, with_va_list};
