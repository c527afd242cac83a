//! x86_64: system calls, the thread-local word, the trampolines.

use crate::frame::Frame;
use core::arch::{asm, global_asm};

/// A raw system call; the result is negative errno on failure, errno untouched.
///
/// # Safety
/// As the system call itself.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel clobbers rcx and r11 only; memory is as the call does.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result
}

// One word per thread: its slot's number plus 1, 0 before it has one. Initial-exec
// TLS, which stable Rust cannot ask for: `__tls_get_addr` may allocate and is not
// async-signal-safe, and costs more than all the rest.
global_asm!(
    ".pushsection .tbss.writegate,\"awT\",@nobits",
    ".globl writegate_thread",
    ".hidden writegate_thread",
    ".type writegate_thread,@object",
    ".size writegate_thread,8",
    ".balign 8",
    "writegate_thread:",
    ".zero 8",
    ".popsection",
);

/// This thread's word.
#[inline(always)]
pub fn thread_word() -> *mut u64 {
    let at: *mut u64;
    // SAFETY: reads the GOT entry and fs:0; no memory is written.
    unsafe {
        asm!(
            "mov {at}, qword ptr [rip + writegate_thread@GOTTPOFF]",
            "add {at}, qword ptr fs:[0]",
            at = out(reg) at,
            options(nostack, pure, readonly)
        );
    }
    at
}

/// A counter that never stands still.
pub fn ticks() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads the time stamp counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nostack, nomem)) };
    (high as u64) << 32 | low as u64
}

/// Adds to a word of this thread's own in one instruction: not locked, but a
/// signal handler sees it before or after, never in between.
#[inline(always)]
pub fn add_in_place(word: &core::sync::atomic::AtomicU64, value: u64) {
    // SAFETY: writes the word only, which is borrowed.
    unsafe {
        asm!("add qword ptr [{at}], {value}", at = in(reg) word.as_ptr(), value = in(reg) value,
            options(nostack));
    }
}

/// As [`add_in_place`], and.
#[inline(always)]
pub fn and_in_place(word: &core::sync::atomic::AtomicU64, mask: u64) {
    // SAFETY: writes the word only, which is borrowed.
    unsafe {
        asm!("and qword ptr [{at}], {mask}", at = in(reg) word.as_ptr(), mask = in(reg) mask,
            options(nostack));
    }
}

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
    // The seventh argument, for whom it may concern.
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
    enter = sym crate::enter::writegate_enter,
    leave = sym crate::enter::writegate_leave,
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

pub(crate) use {bracket, with_va_list};

/// Numbers of the system calls that the library makes itself.
pub mod nr {
    #![allow(missing_docs)]
    pub const READ: usize = 0;
    pub const CLOSE: usize = 3;
    pub const FSTAT: usize = 5;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const MUNMAP: usize = 11;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const PREAD64: usize = 17;
    pub const MREMAP: usize = 25;
    pub const MADVISE: usize = 28;
    pub const GETPID: usize = 39;
    pub const FCNTL: usize = 72;
    pub const FTRUNCATE: usize = 77;
    pub const GETSOCKNAME: usize = 51;
    pub const GETPEERNAME: usize = 52;
    pub const GETCWD: usize = 79;
    pub const MKDIR: usize = 83;
    pub const LINK: usize = 86;
    pub const UNLINK: usize = 87;
    pub const READLINK: usize = 89;
    pub const GETEUID: usize = 107;
    pub const SIGALTSTACK: usize = 131;
    pub const FSTATFS: usize = 138;
    pub const GETTID: usize = 186;
    pub const FUTEX: usize = 202;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const TGKILL: usize = 234;
    pub const OPENAT: usize = 257;
    pub const NEWFSTATAT: usize = 262;
    pub const GETRANDOM: usize = 318;
    pub const MEMBARRIER: usize = 324;
}
