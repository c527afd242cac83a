//! Home directories, where mail lies in them: the directories that hold them all. (A list of each
//! home would not know the next user's.)

use super::told::Told;
use crate::command::setup::site::Site;
use std::collections::BTreeSet;
use std::path::Path;

/// Numbers of persons' accounts (Debian's policy, 9.2.2).
const PERSONS: std::ops::RangeInclusive<u32> = 1000..=59999;

/// Takes them; `setting` says that mail lies there.
pub fn take(site: &Site, setting: &str, told: &mut Told) {
    let text = site.read("/etc/passwd").ok().flatten().unwrap_or_default();
    let above = above_all(text.lines().filter_map(home_of_a_person));
    if above.is_empty() {
        told.untold.push(format!("{setting}: no user has a home directory here"));
        return;
    }
    told.usual.extend(above.into_iter().map(|dir| (dir, setting.to_owned())));
    told.untold.push(format!(
        "{setting}: mail lies in home directories. Whoever else writes below them during a freeze speaks \
         against the snapshot; leave out by `exclude = PATTERN` lines what is no mail. Users of a \
         directory service were not asked for"
    ));
}

/// The directories that hold these homes.
pub fn above_all<'a>(homes: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let above = |home: &str| Some(Path::new(home).parent()?.to_str()?.to_owned());
    homes.filter_map(above).filter(|dir| dir.len() > 1 && dir.starts_with('/')).collect()
}

fn home_of_a_person(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split(':').collect();
    let [_, _, number, _, _, home, ..] = fields[..] else { return None };
    PERSONS.contains(&number.parse().ok()?).then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_above_stands_for_all_homes() {
        let text = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n\
                    bob:x:1001:1001::/home/bob:/bin/sh\nc:x:1002:1002::/srv/c:\nbad\n\
                    nobody:x:65534:65534::/nonexistent:/bin/false\n";
        let above = above_all(text.lines().filter_map(home_of_a_person));
        assert!(above.iter().eq(["/home", "/srv"]));
    }
}
