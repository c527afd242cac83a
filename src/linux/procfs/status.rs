//! `status`, `exe`, `cgroup`: whose a process is, what it runs, where it belongs.

use super::bounded;
use super::maps::DELETED;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The id of a process (or `PID/task/TID`) in its innermost PID namespace.
pub fn innermost_pid(of: &str) -> Option<i32> {
    line_of(of, "NSpid:")?.split_ascii_whitespace().last()?.parse().ok()
}

/// To whom everybody is shown (include/uapi/linux/capability.h).
pub const CAP_SYS_PTRACE: u64 = 1 << 19;

/// Our own rights, a bit for each capability.
pub fn effective_capabilities() -> u64 {
    line_of("self", "CapEff:").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// Have we the right to look into others' processes? Without it one can be looked into only if it is the same
/// user's and has no right that we lack. In a user namespace the right is one over those who live there: nobody
/// else believes a page of that namespace's root.
pub fn may_look_into_others() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| effective_capabilities() & CAP_SYS_PTRACE != 0)
}

/// Effective user of a process.
pub fn uid(pid: i32) -> Option<u32> {
    line_of(&pid.to_string(), "Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The process that traces a thread; 0: none does. None: that cannot be seen.
pub fn tracer(pid: i32, tid: i32) -> Option<i32> {
    line_of(&format!("{pid}/task/{tid}"), "TracerPid:")?.trim().parse().ok()
}

/// The process of a thread.
pub fn process_of(tid: i32) -> Option<i32> {
    line_of(&tid.to_string(), "Tgid:")?.trim().parse().ok()
}

fn line_of(of: &str, name: &str) -> Option<String> {
    // The process's name in it may be no UTF-8.
    let bytes = bounded::whole(format!("/proc/{of}/status")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

/// The program a process runs, by the name that it had when it was started: an upgrade may have put
/// another file in its place.
pub fn exe(pid: i32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.as_os_str().as_bytes();
    Some(match name.strip_suffix(DELETED.as_bytes()) {
        Some(once) => OsStr::from_bytes(once).into(),
        None => path,
    })
}

/// The mount namespace of a process, as a name that tells it from others.
pub fn mount_namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// Does a process look names up where we do: in our mount namespace, below our root?
pub fn sees_as_we_do(pid: i32) -> bool {
    let us = std::process::id() as i32;
    let root = |pid: i32| fs::read_link(format!("/proc/{pid}/root")).ok();
    mount_namespace(pid) == mount_namespace(us) && root(pid) == root(us)
}

/// Its control group: version 2, or the systemd hierarchy's of version 1. Where both
/// are mounted (hybrid) either may be the one that carries the unit, and the other `/`.
pub fn cgroup(pid: i32) -> Option<String> {
    parse_cgroup(&String::from_utf8_lossy(&bounded::whole(format!("/proc/{pid}/cgroup")).ok()?))
}

/// The text of `cgroup`.
pub fn parse_cgroup(text: &str) -> Option<String> {
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let systemd = text.lines().find_map(|l| l.split_once(":name=systemd:").map(|(_, path)| path));
    unified.filter(|path| *path != "/").or(systemd).or(unified).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_found_in_either_hierarchy() {
        let unit = "/system.slice/cyrus.service";
        let group = |text: &str| parse_cgroup(text);
        assert_eq!(group(&format!("0::{unit}\n")).as_deref(), Some(unit));
        let hybrid = format!("2:cpu:/\n1:name=systemd:{unit}\n0::/\n");
        assert_eq!(group(&hybrid).as_deref(), Some(unit));
        let both = format!("1:name=systemd:{unit}\n0::{unit}\n");
        assert_eq!(group(&both).as_deref(), Some(unit));
        assert_eq!(group(&format!("1:name=systemd:{unit}\n")).as_deref(), Some(unit));
        assert_eq!(group("1:name=systemd:/\n0::/\n").as_deref(), Some("/"));
        assert_eq!(group("3:cpu:/x\n"), None);
    }

    #[test]
    fn we_see_ourselves() {
        let me = std::process::id() as i32;
        assert_eq!(innermost_pid(&me.to_string()), Some(me));
        assert!(uid(me).is_some() && exe(me).is_some());
    }
}
