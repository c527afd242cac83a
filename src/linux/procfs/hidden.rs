//! Does `/proc` hide processes from us (its mount option hidepid)? Then a list of it is not whole.

use super::bounded::{self, Bounds};
use super::status::{CAP_SYS_PTRACE, effective_capabilities};
use crate::linux::process;
use std::path::Path;
use std::sync::OnceLock;

/// As in `mounts`.
const BOUNDS: Bounds = Bounds { bytes: 32 << 20, ns: 500_000_000 };

/// Are there processes that it does not show us? Asked once.
pub fn hides_processes() -> bool {
    static HIDES: OnceLock<bool> = OnceLock::new();
    *HIDES.get_or_init(|| {
        // The first process is always there, and seldom ours.
        let hides_the_first = process::is_there(1) && !Path::new("/proc/1").exists();
        hides_the_first || option().is_some_and(|how| how.hides_from_us())
    })
}

/// What the option says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct HidePid {
    /// Not even the members of its group are shown others' processes.
    to_all: bool,
    /// Whose members are shown everybody.
    group: u32,
}

impl HidePid {
    fn hides_from_us(self) -> bool {
        effective_capabilities() & CAP_SYS_PTRACE == 0 && (self.to_all || !is_member(self.group))
    }
}

fn is_member(group: u32) -> bool {
    let groups = nix::unistd::getgroups().unwrap_or_default();
    groups.into_iter().chain([nix::unistd::getegid()]).any(|one| one.as_raw() == group)
}

fn option() -> Option<HidePid> {
    let mut found = None;
    // The last one lies over those before it.
    bounded::lines("/proc/self/mountinfo", BOUNDS, |line| {
        let line = String::from_utf8_lossy(line);
        if line.split(' ').nth(4) == Some("/proc") {
            found = parse(&line);
        }
    })
    .ok()?;
    found
}

/// `22 1 0:21 / /proc rw,relatime - proc proc rw,gid=4,hidepid=invisible`
fn parse(line: &str) -> Option<HidePid> {
    let options = line.split_once(" - ")?.1.split(' ').nth(2)?;
    let value = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    let to_all = match value("hidepid=")? {
        // The first shows that they are there, and nothing of them.
        "1" | "noaccess" | "2" | "invisible" => false,
        "4" | "ptraceable" => true,
        _ => return None,
    };
    let group = value("gid=").and_then(|gid| gid.parse().ok()).unwrap_or(0);
    Some(HidePid { to_all, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_option_says() {
        let of = |options: &str| parse(&format!("22 1 0:21 / /proc rw - proc proc {options}"));
        assert_eq!(of("rw,hidepid=2,gid=4"), Some(HidePid { to_all: false, group: 4 }));
        assert_eq!(of("rw,hidepid=noaccess"), Some(HidePid { to_all: false, group: 0 }));
        assert_eq!(of("rw,hidepid=invisible"), Some(HidePid { to_all: false, group: 0 }));
        assert_eq!(of("rw,gid=7,hidepid=ptraceable"), Some(HidePid { to_all: true, group: 7 }));
        for shown in ["rw", "rw,hidepid=0", "rw,hidepid=off", "rw,gid=4"] {
            assert_eq!(of(shown), None, "{shown}");
        }
    }
}
