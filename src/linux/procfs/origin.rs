//! Where a process comes from: its users, its login, its control group. Nothing of it can be
//! chosen by a user without rights.

use super::bounded;
use super::stat::stat;
use super::status::cgroup;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// What `loginuid` says where there was no login.
const NO_LOGIN: u32 = u32::MAX;

/// What the kernel says of where a process comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Start time: with the process id it names the process.
    pub start: u64,
    /// Parent.
    pub parent: i32,
    /// Real, effective, saved and file system user.
    pub users: [u32; 4],
    /// It runs a set-id program with the id that this gives: whose that program is.
    pub set_id: Option<u32>,
    /// The login that it comes from; none: it comes from none, or the kernel does not say.
    pub login: Option<u32>,
    /// Control group.
    pub cgroup: String,
}

/// Where this process comes from; none: it is gone, or may not be seen.
pub fn origin(pid: i32) -> Option<Origin> {
    let stat = stat(pid)?;
    let status = bounded::page(&format!("/proc/{pid}/status")).ok()?;
    let users = ids(&status, "Uid:")?;
    let groups = ids(&status, "Gid:")?;
    let login = bounded::page(&format!("/proc/{pid}/loginuid")).ok();
    let login = login.and_then(|text| text.trim().parse().ok());
    Some(Origin {
        start: stat.start,
        parent: stat.ppid,
        users,
        set_id: match users[0] != users[1] || groups[0] != groups[1] {
            true => runs_set_id(pid, users, groups),
            false => None,
        },
        login: login.filter(|login| *login != NO_LOGIN),
        cgroup: cgroup(pid).unwrap_or_default(),
    })
}

/// Real, effective, saved and file system id. The name before it in `status` may hold anything,
/// but no newline.
pub fn ids(status: &str, name: &str) -> Option<[u32; 4]> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let ids: Vec<u32> = line.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
    ids.try_into().ok()
}

fn runs_set_id(pid: i32, users: [u32; 4], groups: [u32; 4]) -> Option<u32> {
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    let user = file.mode() & libc::S_ISUID != 0 && users[1] == file.uid();
    let group = file.mode() & libc::S_ISGID != 0 && groups[1] == file.gid();
    (user || group).then(|| file.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_origin() {
        let me = origin(std::process::id() as i32).unwrap();
        assert_eq!(me.users[1], nix::unistd::geteuid().as_raw());
        assert_eq!(me.parent, nix::unistd::getppid().as_raw());
        assert!(me.set_id.is_none() && me.start > 0);
    }

    #[test]
    fn ids_are_four() {
        let status = "Name:\tUid: x\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        assert_eq!(ids(status, "Uid:"), Some([1, 2, 3, 4]));
        assert_eq!(ids("Uid:\t1\t2\n", "Uid:"), None);
    }
}
