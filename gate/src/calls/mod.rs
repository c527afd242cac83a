//! The table of hooked calls: one line each.
//!
//! From it come the exports of the preloaded library and their forwarding
//! (`preload/src/exports.rs`), the look-up of the real functions
//! (`preload/src/resolve/`), the check that no sibling was forgotten
//! (`tests/library/exports/`) and the reference (`writegate doctor --calls`, docs).
//!
//! A line reads `call NAME [ALIASES] (RULE) "what it changes"`. Aliases are the same
//! function under other names (64-bit off_t makes `pwrite64` one of them): each is
//! an export of its own that does the same. `variadic NAME [ALIASES] (TARGET, N)`
//! forwards a call with N named arguments to its `va_list` sibling; `listed NAME [ALIASES] (TARGET)`
//! one of exec's kind to the sibling that takes an array. `look_up NAME [ALIASES] ()` finds calls by their
//! names, and hands out the export where it finds libc's own.
//!
//! Adding a call is adding a line; only a new *rule* needs a function
//! (`preload/src/rules/`).

mod rule;
pub mod syscalls;
mod table;

pub use rule::{CWD, Rule};
pub(crate) use table::ROWS;
pub use table::{COUNT, Call, Info, NAMES, TABLE};

/// The name of a call by its number.
pub fn name(call: u16) -> &'static str {
    TABLE.get(call as usize).map_or("?", |info| info.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree_and_fit_into_a_word() {
        assert_eq!(name(Call::write as u16), "write");
        assert_eq!(name(Call::syscall as u16), "syscall");
        assert!(TABLE.len() <= 1 << crate::word::CALL_BITS);
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: std::vec::Vec<_> =
            TABLE.iter().flat_map(|i| i.aliases.iter().chain([&i.name])).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
