//! x86_64: the bodies of `dlsym` and `dlvsym`.

use core::arch::global_asm;

// r11 holds the place of the real function's address (in crate::resolve::REAL). What RTLD_DEFAULT (0)
// and RTLD_NEXT (-1) mean depends on who calls: these are passed on by a jump, which leaves the return
// address as it was. With a handle it does not, and the answer goes through writegate_looked_up(answer,
// name, return address).
global_asm!(
    ".pushsection .text.writegate_look_up,\"ax\",@progbits",
    ".globl writegate_look_up",
    ".hidden writegate_look_up",
    ".type writegate_look_up,@function",
    ".balign 16",
    "writegate_look_up:",
    ".cfi_startproc",
    "mov r10, [r11]",
    "test r10, r10",
    "jz 3f",
    "1:",
    "lea rax, [rdi + 1]",
    "cmp rax, 1",
    "ja 2f",
    "jmp r10",
    "2:",
    "sub rsp, 24",
    ".cfi_def_cfa_offset 32",
    "mov [rsp], rsi",
    "call r10",
    "mov rdi, rax",
    "mov rsi, [rsp]",
    "mov rdx, [rsp + 24]",
    "add rsp, 24",
    ".cfi_def_cfa_offset 8",
    "jmp {looked_up}",
    // Called before the library's start.
    "3:",
    "sub rsp, 40",
    ".cfi_def_cfa_offset 48",
    "mov [rsp], rdi",
    "mov [rsp + 8], rsi",
    "mov [rsp + 16], rdx",
    "mov [rsp + 24], r11",
    "call {resolve}",
    "mov rdi, [rsp]",
    "mov rsi, [rsp + 8]",
    "mov rdx, [rsp + 16]",
    "mov r11, [rsp + 24]",
    "add rsp, 40",
    ".cfi_def_cfa_offset 8",
    "mov r10, [r11]",
    "test r10, r10",
    "jnz 1b",
    // No libc is found: nothing can be looked up.
    "xor eax, eax",
    "ret",
    ".cfi_endproc",
    ".size writegate_look_up, . - writegate_look_up",
    ".popsection",
    looked_up = sym crate::hook::look_up::writegate_looked_up,
    resolve = sym crate::hook::look_up::writegate_resolve,
);

/// The body of an export that looks a symbol up.
macro_rules! looks_up {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "lea r11, [rip + {real} + 8 * {call}]",
            "jmp writegate_look_up",
            ".cfi_endproc",
            real = sym crate::resolve::REAL,
            call = const $call as u32,
        )
    };
}

pub(crate) use looks_up;
