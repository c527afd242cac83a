//! The table of exit codes: those of sysexits.h where one fits, and those of timeout(1) and of
//! the shell. `--help` and the manual page are made from it.

/// The command was not used as it must be.
pub const USAGE: u8 = 64;
/// An escape was seen, or an ungated writer.
pub const ESCAPE: u8 = 65;
/// No gated process.
pub const NO_PROCESS: u8 = 69;
/// Something that was to be written is lost (stdout, stderr).
pub const OUTPUT: u8 = 74;
/// Not drained; nothing is held any longer.
pub const NOT_DRAINED: u8 = 75;
/// A stale or foreign token.
pub const TOKEN: u8 = 76;
/// Permission.
pub const PERMISSION: u8 = 77;
/// Configuration: something on disk is not as it must be.
pub const CONFIG: u8 = 78;
/// The limit passed before the thaw.
pub const EXPIRED: u8 = 124;
/// The command to run is not executable.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command to run was not found.
pub const NOT_FOUND: u8 = 127;
/// What ended by a signal exits by this and the signal's number.
pub const BY_SIGNAL: u8 = 128;

/// Our own failures, in few words.
const FAILURES: [(u8, &str); 9] = [
    (USAGE, "usage"),
    (ESCAPE, "known against the snapshot"),
    (NO_PROCESS, "no gated process"),
    (OUTPUT, "output lost"),
    (NOT_DRAINED, "not drained"),
    (TOKEN, "stale token"),
    (PERMISSION, "permission"),
    (CONFIG, "configuration"),
    (EXPIRED, "limit passed"),
];

/// The exit code of what this signal ended.
pub fn by_signal(signal: i32) -> u8 {
    BY_SIGNAL.wrapping_add(signal as u8)
}

/// All of them in one sentence, for `--help`.
pub fn help() -> String {
    let failures: Vec<String> =
        FAILURES.iter().map(|(code, what)| format!("{code} {what}")).collect();
    format!(
        "Exit codes: 0 consistent; {}; else the snapshot command's own ({NOT_EXECUTABLE}, \
         {NOT_FOUND}: could not be run).",
        failures.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_documents() {
        let page = include_str!("../../docs/admin/verdicts.md");
        let words = |text: &'static str| text.split(|c: char| !c.is_ascii_alphanumeric());
        let all = FAILURES.iter().map(|(code, _)| *code).chain([NOT_EXECUTABLE, NOT_FOUND]);
        for code in all.chain([BY_SIGNAL]) {
            assert!(words(page).any(|word| word == code.to_string()), "{code}");
        }
        assert!(help().contains("124 limit passed; else") && help().contains("(126, 127:"));
    }

    #[test]
    fn what_a_signal_ended_exits_as_a_shell_says_it() {
        assert_eq!([libc::SIGINT, libc::SIGKILL, libc::SIGTERM].map(by_signal), [130, 137, 143]);
    }
}
