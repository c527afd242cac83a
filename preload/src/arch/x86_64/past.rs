//! x86_64: the ways past the hook, for calls that in nearly all cases are none of its business.
//!
//! Each looks at what its rule would look at first, and jumps to the real call; in every other case,
//! and as long as that is not known, to the general trampoline.

/// The body of `close` and its kind: `rules::descriptors::none_matters`, and the last answer about a
/// descriptor is forgotten.
macro_rules! close_bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {call}",
            "cmp qword ptr [rip + {wiped}], 0",
            "je writegate_bracket",
            "cmp byte ptr [rip + {locks_seen}], 0",
            "jne writegate_bracket",
            "cmp byte ptr [rip + {confined}], {by_itself}",
            "je writegate_bracket",
            "mov r10, [rip + {real} + 8 * {call}]",
            "test r10, r10",
            "je writegate_bracket",
            "mov qword ptr [rip + {last_answer}], 0",
            "jmp r10",
            ".cfi_endproc",
            call = const $call as u32,
            wiped = sym crate::this_process::state::WIPED,
            locks_seen = sym crate::this_process::state::LOCKS_SEEN,
            confined = sym crate::linux::confined::CONFINED,
            by_itself = const crate::linux::confined::BY_ITSELF,
            last_answer = sym crate::protected::descriptor_cache::LAST,
            real = sym crate::resolve::REAL,
        )
    };
}

/// The body of `prctl`: whatever lays no filter on the process.
macro_rules! confine_bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {call}",
            "cmp edi, {set_seccomp}",
            "je writegate_bracket",
            "mov r10, [rip + {real} + 8 * {call}]",
            "test r10, r10",
            "je writegate_bracket",
            "jmp r10",
            ".cfi_endproc",
            call = const $call as u32,
            set_seccomp = const linux_raw_sys::prctl::PR_SET_SECCOMP,
            real = sym crate::resolve::REAL,
        )
    };
}

pub(crate) use {close_bracket, confine_bracket};
