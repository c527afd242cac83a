//! The functions that the compiler calls of its own accord: memcpy, memmove, memset, memcmp,
//! bcmp, strlen.
//!
//! libc's are chosen at load time by functions of libc's own; where libc was loaded before this
//! library (it stands before it in LD_PRELOAD), the loader would call those too early, and the
//! program dies. These are the library's own, and hidden: no program finds them. They serve
//! slow paths; the direction flag is clear, by the ABI.

use core::arch::global_asm;

macro_rules! hidden {
    ($name:literal, $($line:literal),*) => {
        global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ",@function"),
            ".balign 16",
            concat!($name, ":"),
            ".cfi_startproc",
            $($line,)*
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
        );
    };
}

hidden!("memcpy", "mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret");
hidden!(
    "memmove",
    "mov rax, rdi",
    "mov rcx, rdx",
    "mov r8, rdi",
    "sub r8, rsi",
    "cmp r8, rdx",
    // The destination begins inside the source: from the end.
    "jb 2f",
    "rep movsb",
    "ret",
    "2:",
    "lea rdi, [rdi + rcx - 1]",
    "lea rsi, [rsi + rcx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret"
);
hidden!("memset", "mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret");
hidden!("bcmp", "jmp memcmp");
hidden!(
    "memcmp",
    "xor ecx, ecx",
    "2:",
    "cmp rcx, rdx",
    "je 3f",
    "movzx eax, byte ptr [rdi + rcx]",
    "movzx r8d, byte ptr [rsi + rcx]",
    "inc rcx",
    "sub eax, r8d",
    "je 2b",
    "ret",
    "3:",
    "xor eax, eax",
    "ret"
);
hidden!(
    "strlen",
    "xor eax, eax",
    "2:",
    "cmp byte ptr [rdi + rax], 0",
    "je 3f",
    "inc rax",
    "jmp 2b",
    "3:",
    "ret"
);
