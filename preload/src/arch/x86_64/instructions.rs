//! x86_64: system calls, the thread-local word, single instructions.

use core::arch::{asm, global_asm};
use core::sync::atomic::AtomicU64;

/// A raw system call; the result is negative errno on failure, errno untouched.
///
/// # Safety
/// As the system call itself.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result;
    // SAFETY: `syscall` clobbers rcx and r11 besides its result, which are named here; what
    // it does to memory is the call's own doing, to which the caller has agreed.
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

global_asm!(".weak _r_debug", ".hidden _DYNAMIC");

/// The address of the loader's `_r_debug` (struct r_debug); 0 where it has none (musl).
pub fn debug_of_loader() -> usize {
    let at;
    // SAFETY: reads an entry of our own offset table, which the loader has filled.
    unsafe {
        asm!("mov {}, [rip + _r_debug@GOTPCREL]", out(reg) at, options(nostack, readonly));
    }
    at
}

/// The address of our own dynamic section, by which the loader's list knows us.
pub fn own_dynamic() -> usize {
    let at;
    // SAFETY: the linker makes this symbol; it is hidden in every object, so it is ours.
    unsafe {
        asm!("lea {}, [rip + _DYNAMIC]", out(reg) at, options(nostack, nomem));
    }
    at
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

/// Where this thread's word lies.
#[inline(always)]
pub fn thread_word() -> *mut u64 {
    let at: *mut u64;
    // SAFETY: reads the GOT's entry of `writegate_thread` and the thread's own pointer at
    // fs:0, both written before any code of this library runs; writes one register.
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

/// Ends the process by an invalid instruction.
pub fn fault() -> ! {
    // SAFETY: the processor raises a fault here; what stands behind is never reached.
    unsafe { asm!("2:", "ud2", "jmp 2b", options(noreturn, nostack)) }
}

/// Where this thread's control block lies: no two threads of a process have it at one place
/// at a time, and a forked thread keeps its own.
#[inline(always)]
pub fn thread_pointer() -> usize {
    let at: usize;
    // SAFETY: fs:0 holds its own address, by the ABI of thread-local storage; only read.
    unsafe {
        asm!("mov {at}, qword ptr fs:[0]", at = out(reg) at, options(nostack, pure, readonly))
    };
    at
}

/// Adds to a word of this thread's own in one instruction: not locked, but a
/// signal handler sees it before or after, never in between.
#[inline(always)]
pub fn add_in_place(word: &AtomicU64, value: u64) {
    // SAFETY: writes the word alone, which is borrowed here and may change under a shared
    // reference, being an atomic; the flags count as clobbered.
    unsafe {
        asm!("add qword ptr [{at}], {value}", at = in(reg) word.as_ptr(), value = in(reg) value,
            options(nostack));
    }
}

/// Like [`add_in_place`], keeps the bits of `mask` only.
#[inline(always)]
pub fn and_in_place(word: &AtomicU64, mask: u64) {
    // SAFETY: writes the word alone, which is borrowed here and may change under a shared
    // reference, being an atomic; the flags count as clobbered.
    unsafe {
        asm!("and qword ptr [{at}], {mask}", at = in(reg) word.as_ptr(), mask = in(reg) mask,
            options(nostack));
    }
}
