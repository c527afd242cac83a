//! The profile: which files, locks and programs count.
//!
//! A small text, one `key = value` a line, `#` begins a comment. It lies in
//! `/etc/writegate/NAME.conf`, is checked by the command and published in the
//! control page; each process reads it there once, when it is first gated. It is
//! matched as text, line by line, on slow paths only: nothing is compiled, so
//! nothing is allocated.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `path` | absolute directory | protected; none given: every file system that lies on storage |
//! | `exclude` | pattern | files that are not judged: logs, statistics |
//! | `lifetime-lock` | pattern | locks held for life (pid files): never part of a section |
//! | `program` | pattern | only programs so named are gated; none given: all |
//! | `parkable` | pattern | new files whose writer may be stopped half-way: the server discards or finishes them after a crash |
//! | `new-files` | program pattern | creating a file does not begin a section, writing to it does |
//! | `settled` | program pattern | a section whose record is synced counts as over while its process waits |
//! | `record` | program pattern | writing to the file that the lock lies on completes the set: the section is over |
//! | `first` | program pattern | held some ms before all others: makers of sets that travel by message |
//! | `first-wait` | milliseconds (`200ms`) | the others are held when each has been seen to wait, at the latest after so long; not given: a bounded guess, 20 ms |
//! | | `rest` | the same without the time: until then the freeze is not drained |
//! | `until-wait` | program pattern | sections last until the process waits |
//! | `until-exit` | program pattern | sections last until the process ends |
//! | `hand-over` | program pattern | what it sends, under a lock, to another process of this machine is a change |
//! | `hand-over-to` | pattern | only to such addresses: a socket's path, `127.0.0.1:24`, `[::1]:24`; none given: all |
//!
//! Patterns: `*` stands for any characters (`/` too), `?` for one. A pattern with
//! a `/` is held against the whole path, one without against the last component.

/// The keys of a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// `path`
    Path,
    /// `exclude`
    Exclude,
    /// `lifetime-lock`
    LifetimeLock,
    /// `program`
    Program,
    /// `parkable`
    Parkable,
    /// `new-files`
    NewFiles,
    /// `settled`
    Settled,
    /// `record`
    Record,
    /// `first`
    First,
    /// `first-wait`
    FirstWait,
    /// `until-wait`
    UntilWait,
    /// `until-exit`
    UntilExit,
    /// `hand-over`
    HandOver,
    /// `hand-over-to`
    HandOverTo,
}

/// All keys with their names.
pub const KEYS: [(&str, Key); 14] = [
    ("path", Key::Path),
    ("exclude", Key::Exclude),
    ("lifetime-lock", Key::LifetimeLock),
    ("program", Key::Program),
    ("parkable", Key::Parkable),
    ("new-files", Key::NewFiles),
    ("settled", Key::Settled),
    ("record", Key::Record),
    ("first", Key::First),
    ("first-wait", Key::FirstWait),
    ("until-wait", Key::UntilWait),
    ("until-exit", Key::UntilExit),
    ("hand-over", Key::HandOver),
    ("hand-over-to", Key::HandOverTo),
];

/// What holds without any profile. No suffix is excluded: a mail store's own data
/// may be called a log (Dovecot's `dovecot.index.log` is its index).
pub const BUILT_IN: [(Key, &str); 12] = [
    (Key::Exclude, "/var/log/*"),
    (Key::Exclude, "/proc/*"),
    (Key::Exclude, "/sys/*"),
    (Key::Exclude, "/dev/*"),
    (Key::LifetimeLock, "pid"),
    (Key::LifetimeLock, "pid.lock"),
    (Key::LifetimeLock, "pidfile"),
    (Key::LifetimeLock, "pidfile.lock"),
    (Key::LifetimeLock, "*.pid"),
    (Key::LifetimeLock, "*.pid.lock"),
    (Key::LifetimeLock, "*.pidfile"),
    (Key::LifetimeLock, "*.pidfile.lock"),
];

/// What is wrong with a profile, and where (both from 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Line.
    pub line: usize,
    /// Column, in bytes.
    pub column: usize,
    /// What.
    pub what: &'static str,
}

// As sets: a search for a plain character is libcore's memchr, which cannot be shown
// not to panic, and the library that reads this must contain no path to a panic.
const NEWLINE: [char; 1] = ['\n'];
const COMMENT: [char; 1] = ['#'];
const EQUALS: [char; 1] = ['='];

/// Checks a whole profile; the first fault is returned.
pub fn check(text: &str) -> Result<(), Wrong> {
    let mut used = 0;
    for (number, line) in text.split(NEWLINE).enumerate() {
        let wrong = |at: &str, what| {
            // `at` is a part of `line`.
            let column = at.as_ptr() as usize - line.as_ptr() as usize + 1;
            Err(Wrong { line: number + 1, column, what })
        };
        let body = line.split(COMMENT).next().unwrap_or("");
        if body.trim().is_empty() {
            continue;
        }
        let Some((name, value)) = body.split_once(EQUALS) else {
            return wrong(body.trim_start(), "expected `key = value`");
        };
        let Some(key) = key_of(name.trim()) else {
            return wrong(name.trim_start(), "unknown key");
        };
        let value = value.trim();
        if value.is_empty() {
            return wrong(&body[body.len()..], "the value is missing");
        }
        used += 1;
        if used > LINES_MAX {
            return wrong(name.trim_start(), "a profile has at most 256 lines with a value");
        }
        if key == Key::Path && !value.starts_with('/') {
            return wrong(value, "a protected directory must be an absolute path");
        }
        if key == Key::FirstWait && first_wait_of(value).is_none() {
            return wrong(value, "expected 1ms to 1000ms, or rest");
        }
        if key != Key::Program && value.bytes().all(|c| matches!(c, b'*' | b'?' | b'/')) {
            return wrong(value, "this matches everything, so nothing would be protected");
        }
    }
    Ok(())
}

/// `200ms`; at most a second.
fn milliseconds(value: &str) -> Option<u64> {
    value.strip_suffix("ms")?.parse().ok().filter(|ms| (1..=1000).contains(ms))
}

/// How the others are waited for after those that are held `first`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstWait {
    /// For so long at most (ns).
    AtMost(u64),
    /// Until each of them has been seen at rest.
    Quiesced,
}

fn first_wait_of(value: &str) -> Option<FirstWait> {
    if value == "rest" {
        return Some(FirstWait::Quiesced);
    }
    milliseconds(value).map(|ms| FirstWait::AtMost(ms * 1_000_000))
}

/// The value of `first-wait`, if one is given.
pub fn first_wait(text: &str) -> Option<FirstWait> {
    values(text, Key::FirstWait).find_map(first_wait_of)
}

fn key_of(name: &str) -> Option<Key> {
    KEYS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key)
}

/// The values of one key, in order.
pub fn values(text: &str, key: Key) -> impl Iterator<Item = &str> {
    text.split(NEWLINE).filter_map(move |line| {
        let body = line.split(COMMENT).next().unwrap_or("");
        let (name, value) = body.split_once(EQUALS)?;
        (key_of(name.trim()) == Some(key)).then(|| value.trim())
    })
}

/// Most lines with a value that one profile may have.
pub const LINES_MAX: usize = 256;

/// Where the values of a profile lie in its text: found once, so that matching
/// reads no syntax. Fixed size; the text stays where it is.
#[derive(Clone, Copy)]
pub struct Index {
    entries: [(Option<Key>, u16, u16); LINES_MAX],
    len: usize,
}

impl Index {
    /// Of no text.
    pub const EMPTY: Index = Index { entries: [(None, 0, 0); LINES_MAX], len: 0 };

    /// Of a text; none if it has too many lines or bytes.
    pub fn of(text: &str) -> Option<Index> {
        let mut index = Index::EMPTY;
        for (_, key) in KEYS {
            for value in values(text, key) {
                let start = value.as_ptr() as usize - text.as_ptr() as usize;
                let place = index.entries.get_mut(index.len)?;
                *place = (Some(key), start.try_into().ok()?, value.len().try_into().ok()?);
                index.len += 1;
            }
        }
        Some(index)
    }

    /// Does some value of `key`, given or built in, match `path`?
    pub fn matches(&self, text: &str, key: Key, path: &[u8]) -> bool {
        BUILT_IN.iter().any(|(of, value)| *of == key && glob(value.as_bytes(), path))
            || self.given(text, key, path)
    }

    /// Is some value of `key` given?
    pub fn has(&self, key: Key) -> bool {
        self.entries.iter().take(self.len).any(|(of, ..)| *of == Some(key))
    }

    /// Does some given value of `key` match `path`?
    pub fn given(&self, text: &str, key: Key, path: &[u8]) -> bool {
        self.entries.iter().take(self.len).any(|(of, start, len)| {
            let (start, len) = (*start as usize, *len as usize);
            *of == Some(key)
                && text.as_bytes().get(start..start + len).is_some_and(|value| glob(value, path))
        })
    }
}

/// Does some value of `key`, given or built in, match `path`?
pub fn matches(text: &str, key: Key, path: &[u8]) -> bool {
    Index::of(text).is_some_and(|index| index.matches(text, key, path))
}

/// Does one pattern match a path?
///
/// ```
/// use gate::profile::glob;
/// assert!(glob(b"*.lock", b"/var/lib/x/dovecot-uidlist.lock"));
/// assert!(glob(b"/var/spool/*/msglog/*", b"/var/spool/exim4/msglog/a/b"));
/// assert!(!glob(b"pid", b"/run/cupid"));
/// ```
pub fn glob(pattern: &[u8], path: &[u8]) -> bool {
    let subject = if pattern.contains(&b'/') {
        path
    } else {
        path.rsplit(|c| *c == b'/').next().unwrap_or(path)
    };
    let (mut p, mut s) = (0, 0);
    // Where to take up again after the last `*`.
    let mut star: Option<(usize, usize)> = None;
    while s < subject.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, s));
                p += 1;
            }
            Some(c) if *c == b'?' || subject.get(s) == Some(c) => {
                p += 1;
                s += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    s = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

/// Does this name look like a lock file (`x.lock`), or (`x.lock.host.pid`) like
/// the hitching post that is linked to one?
pub fn lock_like(path: &[u8]) -> Option<LockName> {
    let name = path.rsplit(|c| *c == b'/').next().unwrap_or(path);
    if name.ends_with(b".lock") && name.len() > 5 {
        return Some(LockName::Lock);
    }
    name.windows(6).any(|part| part == b".lock.").then_some(LockName::HitchingPost)
}

/// See [`lock_like`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockName {
    /// The lock itself.
    Lock,
    /// A file that will be linked to it.
    HitchingPost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_its_line_and_column() {
        let text = "# fine\npath = /srv\n\n  exlude = *.log\n";
        assert_eq!(check(text), Err(Wrong { line: 4, column: 3, what: "unknown key" }));
        assert_eq!(check("path = srv").unwrap_err().column, 8);
        assert_eq!(check("path =").unwrap_err().what, "the value is missing");
        assert_eq!(check("path /srv").unwrap_err().line, 1);
        for wait in ["200", "0ms", "1001ms", "-1ms", "1s", "ms"] {
            assert!(check(&std::format!("first-wait = {wait}")).is_err(), "{wait}");
        }
        assert_eq!(check("first-wait = 200ms\nfirst-wait = rest"), Ok(()));
        let given = |text| first_wait(text);
        let at_most = FirstWait::AtMost(200_000_000);
        assert_eq!(given("first = x\nfirst-wait = 200ms # why"), Some(at_most));
        assert_eq!(given("first-wait = rest"), Some(FirstWait::Quiesced));
        assert_eq!(given("first = x"), None);
        for all in ["exclude = *", "exclude = /*", "lifetime-lock = **", "parkable = ?*"] {
            assert!(check(all).is_err(), "{all}");
        }
        for (key, value) in BUILT_IN {
            let name = KEYS.iter().find(|(_, k)| *k == key).unwrap().0;
            assert_eq!(check(&std::format!("{name} = {value}")), Ok(()));
        }
    }

    #[test]
    fn patterns_match_as_described() {
        assert!(glob(b"*-H", b"/q/input/1abc-H"));
        assert!(!glob(b"*-H", b"/q/input/1abc-D"));
        assert!(glob(b"a*b*c", b"aXbYbZc"));
        assert!(!glob(b"a*b*c", b"aXbYbZ"));
        assert!(glob(b"*", b""));
        assert!(!glob(b"?", b""));
        assert!(matches("", Key::LifetimeLock, b"/run/cyrus/cyrus-master.pid"));
        assert!(!matches("", Key::LifetimeLock, b"/run/cyrus/lock/user/cupid.lock"));
        assert!(matches("exclude = /q/msglog/*", Key::Exclude, b"/q/msglog/1abc"));
        let many = "exclude = x\n".repeat(LINES_MAX + 1);
        assert!(Index::of(&many).is_none(), "a profile that does not fit is refused whole");
    }

    #[test]
    fn lock_names() {
        assert_eq!(lock_like(b"/m/dovecot-uidlist.lock"), Some(LockName::Lock));
        assert_eq!(lock_like(b"/m/bob.lock.host.4f.1"), Some(LockName::HitchingPost));
        assert_eq!(lock_like(b".lock"), None);
        assert_eq!(lock_like(b"/m.lock/cur"), None);
    }
}
