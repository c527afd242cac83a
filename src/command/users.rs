//! Users by name and number.
//!
//! Never through libc's own look-up: in the portable command, which is linked statically, that
//! would load modules of the machine's libc, of another version, into this process.

use crate::linux::bounded_child;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// A directory service may be down: nobody waits longer for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Names by number, of this machine's own users: directory services are not asked for all of
/// theirs.
pub fn names() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(entry).map(|(name, number)| (number, name)).collect()
}

/// The number of the user of this name; None if there is none.
pub fn number(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = text.lines().filter_map(entry).find(|(known, _)| known == name);
    let found = own.or_else(|| entry(&ask_directory(name)?));
    found.map(|(_, number)| number)
}

/// The line that `getent` has of it.
fn ask_directory(name: &str) -> Option<String> {
    let ask = || {
        let mut getent = Command::new("getent");
        getent.args(["passwd", "--", name]).env_remove("LD_PRELOAD");
        let out = getent.output().ok().filter(|out| out.status.success())?;
        String::from_utf8(out.stdout).ok()
    };
    bounded_child::run(PATIENCE, ask)?
}

fn entry(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    Some((name, fields.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_file_of_the_directory_and_of_nobody() {
        assert_eq!(number("root"), Some(0));
        assert_eq!(names().get(&0).map(String::as_str), Some("root"));
        assert_eq!(number("nobody-of-this-name"), None);
        assert_eq!(ask_directory("root").as_deref().and_then(entry), Some(("root".into(), 0)));
    }
}
