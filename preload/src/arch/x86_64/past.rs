//! x86_64: the ways past the hook, for calls that in nearly all cases are none of its business, or that
//! concern no lock.
//!
//! Each looks at what its rule would look at first, and jumps to the real call, or to the straight way; in every other case,
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

/// The body of `dup2` and its kind: `rules::descriptors::none_matters`, and both descriptors are put down already
/// (`rules::inherited`: one has a duplicate, the other was put in its place, or is one that all programs have).
macro_rules! dup2_bracket {
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
            "cmp edi, {noted}",
            "jae writegate_bracket",
            "bt dword ptr [rip + {duplicated}], edi",
            "jnc writegate_bracket",
            "cmp esi, {stderr}",
            "jbe 2f",
            "cmp esi, {noted}",
            "jae writegate_bracket",
            "bt dword ptr [rip + {placed}], esi",
            "jnc writegate_bracket",
            "2:",
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
            noted = const crate::rules::inherited::NOTED,
            duplicated = sym crate::rules::inherited::DUPLICATED,
            placed = sym crate::rules::inherited::PLACED,
            stderr = const linux_raw_sys::general::STDERR_FILENO,
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

/// The body of a call that makes a name, where the profile calls no name a lock.
macro_rules! make_bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {bits}",
            "cmp byte ptr [rip + {are_named}], 0",
            "je writegate_straight",
            "mov r11d, {call}",
            "jmp writegate_bracket",
            ".cfi_endproc",
            call = const $call as u32,
            bits = const gate::word::ThreadWord::asking($call as u16) as u32,
            are_named = sym crate::this_process::state::LOCKS_NAMED,
        )
    };
}

/// The body of a call that removes a name, where none was ever a lock's: `rules::dotlocks::may_name_lock`.
macro_rules! unlink_bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {bits}",
            "cmp byte ptr [rip + {posts_seen}], 0",
            "jne 2f",
            "cmp byte ptr [rip + {locks_seen}], 0",
            "je writegate_straight",
            "2:",
            "mov r11d, {call}",
            "jmp writegate_bracket",
            ".cfi_endproc",
            call = const $call as u32,
            bits = const gate::word::ThreadWord::asking($call as u16) as u32,
            posts_seen = sym crate::this_process::state::POSTS_SEEN,
            locks_seen = sym crate::this_process::state::LOCKS_SEEN,
        )
    };
}

/// The body of `rename` and its kind, where both hold; the last answer about a descriptor is forgotten.
macro_rules! rename_bracket {
    ($call:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov r11d, {bits}",
            "cmp byte ptr [rip + {are_named}], 0",
            "jne 2f",
            "cmp byte ptr [rip + {posts_seen}], 0",
            "jne 2f",
            "cmp byte ptr [rip + {locks_seen}], 0",
            "jne 2f",
            "mov qword ptr [rip + {last_answer}], 0",
            "jmp writegate_straight",
            "2:",
            "mov r11d, {call}",
            "jmp writegate_bracket",
            ".cfi_endproc",
            call = const $call as u32,
            bits = const gate::word::ThreadWord::asking($call as u16) as u32,
            are_named = sym crate::this_process::state::LOCKS_NAMED,
            posts_seen = sym crate::this_process::state::POSTS_SEEN,
            locks_seen = sym crate::this_process::state::LOCKS_SEEN,
            last_answer = sym crate::protected::descriptor_cache::LAST,
        )
    };
}

pub(crate) use {
    close_bracket, confine_bracket, dup2_bracket, make_bracket, rename_bracket, unlink_bracket,
};
