//! The keys of a profile: one table.
//!
//! From it come the parser, the checks of the values, the reference ([`Key`]) and what is
//! compared with the documents (`gate/tests/documents.rs`). A new key is one line here,
//! and its rule.

use super::first_wait::time_or_rest;

/// What a key's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// An absolute directory.
    Directory,
    /// A pattern for paths.
    Paths,
    /// A pattern for programs.
    Programs,
    /// A pattern for programs that have this habit: [`Key::flag`] is set in them.
    Habit,
    /// A pattern for addresses: a socket's path, `127.0.0.1:24`, `[::1]:24`.
    Addresses,
    /// Milliseconds (`200ms`), or `rest`.
    TimeOrRest,
    /// Who is held at rest by the tracer: `ungated`, or a pattern for programs.
    Whom,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// Its name.
    pub name: &'static str,
    /// The key.
    pub key: Key,
    /// What its value is.
    pub value: Value,
    /// What it means.
    pub meaning: &'static str,
}

/// A line reads `KEY "name" (VALUE, RULE) "meaning"`; the rule says what is wrong with a value.
macro_rules! keys {
    ($($key:ident $name:literal ($value:ident, $rule:ident) $meaning:literal;)*) => {
        /// The keys of a profile.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Key {
            $(#[doc = concat!("`", $name, "` ([`Value::", stringify!($value), "`]): ", $meaning)]
            $key,)*
        }

        /// All keys with their names. Apart from [`TABLE`], whose sentences the library
        /// would carry into every program.
        pub const KEYS: [(&str, Key); [$($name),*].len()] = [$(($name, Key::$key)),*];

        /// The whole table.
        pub const TABLE: [KeyInfo; KEYS.len()] = [$(KeyInfo {
            name: $name,
            key: Key::$key,
            value: Value::$value,
            meaning: $meaning,
        }),*];

        impl Key {
            /// Does it name programs that have a habit?
            pub const fn is_habit(self) -> bool {
                match self {
                    $(Key::$key => matches!(Value::$value, Value::Habit),)*
                }
            }

            /// Its bit in what the profile says of one program.
            pub const fn flag(self) -> u32 {
                1 << self as u32
            }

            /// What is wrong with such a value of this key.
            pub(super) fn fault(self, value: &str) -> Option<&'static str> {
                match self {
                    $(Key::$key => $rule(value),)*
                }
            }
        }
    };
}

keys! {
    Path "path" (Directory, directory)
        "protected; none given: every file system that lies on storage";
    Exclude "exclude" (Paths, not_all)
        "files that are not judged: logs, statistics";
    LifetimeLock "lifetime-lock" (Paths, not_all)
        "locks held for life (pid files): never part of a section";
    LockFile "lock-file" (Paths, not_all)
        "names that are locks, beside `*.lock` files: a directory, a symbolic link, or a file that is made by exclusive create, link or rename";
    LockHelper "lock-helper" (Programs, not_all)
        "programs that make a lock file for the process that runs them, and end: the names stand on their command lines";
    Program "program" (Programs, anything)
        "only programs so named are gated; none given: all";
    Parkable "parkable" (Paths, not_all)
        "new files whose writer may be stopped half-way: the server discards or finishes them after a crash";
    NewFiles "new-files" (Habit, not_all)
        "creating a file does not begin a section, writing to it does";
    Settled "settled" (Habit, not_all)
        "a section whose record is synced counts as over while its process waits";
    Record "record" (Habit, not_all)
        "writing to the file that the lock lies on completes the set: the section is over";
    First "first" (Habit, not_all)
        "held some ms before all others: makers of sets that travel by message";
    FirstWait "first-wait" (TimeOrRest, time_or_rest)
        "the others are held when each has been seen to wait: at the latest after so long, or (`rest`) not before, and until then the freeze is not drained; not given: a bounded guess, 20 ms";
    UntilWait "until-wait" (Habit, not_all)
        "sections last until the process waits";
    UntilExit "until-exit" (Habit, not_all)
        "sections last until the process ends";
    HandOver "hand-over" (Habit, not_all)
        "what it sends, under a lock, to another process of this machine is a change";
    HandOverTo "hand-over-to" (Addresses, not_all)
        "only to such addresses; none given: all";
    Hold "hold" (Whom, whom)
        "`ungated`: a freeze stops at rest whom the gate cannot hold (--hold-ungated); a program's path: its gated processes too, which change files past libc (--hold-program)";
}

/// The value of `hold` that names no program.
pub const UNGATED: &str = "ungated";

fn whom(value: &str) -> Option<&'static str> {
    match value {
        UNGATED => None,
        program if !program.contains('/') => Some("`ungated`, or the path of a program"),
        program => not_all(program),
    }
}

fn anything(_: &str) -> Option<&'static str> {
    None
}

fn not_all(value: &str) -> Option<&'static str> {
    let all = value.bytes().all(|c| matches!(c, b'*' | b'?' | b'/'));
    all.then_some("this matches everything, so nothing would be protected")
}

fn directory(value: &str) -> Option<&'static str> {
    if !value.starts_with('/') {
        return Some("a protected directory must be an absolute path");
    }
    not_all(value)
}

/// What holds without any profile. No suffix is excluded: a mail store's own data
/// may be called a log (Dovecot's `dovecot.index.log` is its index).
pub const BUILT_IN: [(Key, &str); 20] = [
    (Key::Exclude, "/var/log/*"),
    (Key::Exclude, "/proc/*"),
    (Key::Exclude, "/sys/*"),
    (Key::Exclude, "/dev/*"),
    // A Java machine locks its file of counters and closes it: the mapping keeps the lock.
    (Key::LifetimeLock, "/tmp/hsperfdata_*"),
    (Key::LifetimeLock, "pid"),
    (Key::LifetimeLock, "pid.lock"),
    (Key::LifetimeLock, "pidfile"),
    (Key::LifetimeLock, "pidfile.lock"),
    (Key::LifetimeLock, "*.pid"),
    (Key::LifetimeLock, "*.pid.lock"),
    (Key::LifetimeLock, "*.pidfile"),
    (Key::LifetimeLock, "*.pidfile.lock"),
    (Key::LockHelper, "lockfile"),
    (Key::LockHelper, "dotlockfile"),
    (Key::LockHelper, "lockfile-create"),
    (Key::LockHelper, "mutt_dotlock"),
    (Key::LockHelper, "shlock"),
    // `ln mine x.lock`, of shells: the link is the lock.
    (Key::LockHelper, "ln"),
    (Key::LockHelper, "link"),
];
