//! Processes that ought to be gated and are not; and what a gated process can do past the gate.

use super::ancestry::is_kin;
use crate::census::kinds::Detached;
use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::library::LibraryLayout;
use crate::linux::procfs;
use crate::outcome::cause::{Cause, Claim};
use crate::outcome::finding::Finding;
use crate::places::reach::Reach;
use gate::profile::{self, Key};
use gate::region;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

/// Programs that say nothing about which service runs them: shells, interpreters, tools.
const COMMON: [&str; 44] = [
    "sh",
    "bash",
    "dash",
    "busybox",
    "env",
    "perl",
    "python",
    "ruby",
    "php",
    "sleep",
    "cat",
    "tail",
    "sudo",
    "tini",
    "head",
    "tee",
    "cp",
    "mv",
    "rm",
    "ln",
    "ls",
    "mkdir",
    "touch",
    "date",
    "dd",
    "sed",
    "grep",
    "awk",
    "mawk",
    "gawk",
    "find",
    "xargs",
    "sort",
    "tar",
    "gzip",
    "rsync",
    "flock",
    "timeout",
    "nice",
    "setpriv",
    "su",
    "runuser",
    "start-stop-daemon",
    "logger",
];

/// What PAM runs for a moment, at each login, where the service may not read the passwords itself
/// (Dovecot of Debian 13). No library comes into it, for it is set-id; it reads, and changes no file.
const PASSWORD_CHECKERS: [&str; 4] =
    ["unix_chkpwd", "unix2_chkpwd", "tcb_chkpwd", "pam_extrausers_chkpwd"];

/// A process that the gate does not cover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ungated {
    /// Process.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
    /// Why it ought to be gated.
    pub why: Claim,
    /// Another gate holds it.
    pub elsewhere: bool,
}

/// What tells a service's processes from others: its members, their units and programs.
#[derive(Debug, Default)]
pub struct Service {
    gate: usize,
    members: HashSet<i32>,
    units: HashSet<String>,
    programs: HashSet<PathBuf>,
    /// Users of the members other than root, once they were asked for.
    users: OnceCell<HashSet<u32>>,
}

impl Service {
    /// Of the members of a gate.
    pub fn of(census: &Census, at: usize) -> Service {
        let mut service = Service { gate: at, ..Service::default() };
        for member in census.alive(at) {
            service.members.insert(member.pid);
            let unit = procfs::cgroup(member.pid).filter(|unit| unit.ends_with(".service"));
            service.units.extend(unit);
            service.programs.extend(procfs::exe(member.stat.by).filter(|exe| !is_common(exe)));
        }
        service
    }

    /// Place of the gate.
    pub fn gate(&self) -> usize {
        self.gate
    }

    /// Does it run as a user (other than root) of the members, or as one had when it was admitted?
    /// Also if that cannot be told.
    pub fn has_user_of(&self, census: &Census, pid: i32) -> bool {
        let users = || {
            let now = self.members.iter().filter_map(|member| procfs::uid(*member));
            let before = census.services.get(self.gate).into_iter().flat_map(|one| one.users());
            now.chain(before).filter(|uid| *uid != 0).collect()
        };
        procfs::uid(pid).is_none_or(|uid| self.users.get_or_init(users).contains(&uid))
    }

    /// Does it belong to the service? Also if that cannot be told.
    pub fn may_be_of(&self, census: &Census, pid: i32) -> bool {
        census.belongs(self.gate, pid) || procfs::origin(pid).is_none()
    }

    /// Why this process, which is not gated, ought to be; None: it ought not. A container's own service runs
    /// the same programs: by its program alone only that counts which can come to what is protected.
    pub fn claims(
        &self,
        census: &Census,
        pid: i32,
        parent: i32,
        reach: &Reach<'_>,
    ) -> Option<Claim> {
        let in_unit = || {
            !self.units.is_empty()
                && procfs::cgroup(pid).is_some_and(|unit| self.units.contains(&unit))
        };
        let same_program = || {
            !self.programs.is_empty()
                && procfs::exe(pid).is_some_and(|exe| self.programs.contains(&exe))
        };
        let claim = if self.members.contains(&parent) {
            Claim::Child
        } else if in_unit() {
            Claim::Unit
        } else if same_program() && reach.includes(pid) {
            Claim::Program
        } else {
            return None;
        };
        // Any user may start the service's programs.
        census.belongs(self.gate, pid).then_some(claim)
    }
}

/// All processes that belong to the service of a gate and are not gated, or only by another gate.
pub fn ungated(census: &Census, service: &Service, reach: &Reach<'_>) -> Vec<Ungated> {
    let mut found = Vec::new();
    for (&pid, seen) in &census.seen {
        let elsewhere = census.elsewhere.contains(&pid);
        if !seen.kind.is_ungated() || census.unseen.contains_key(&pid) {
            continue;
        }
        // Most are none of the service's by what was seen of them: those need not be asked again.
        if service.claims(census, pid, seen.parent, reach).is_none() {
            continue;
        }
        let Some(stat) = procfs::stat(pid) else { continue };
        if stat.start != seen.start || stat.is_dead() {
            continue;
        }
        let Some(why) = service.claims(census, pid, stat.ppid, reach) else { continue };
        if !is_kin(pid, census) && !checks_passwords(pid) {
            found.push(Ungated { pid, program: stat.comm, why, elsewhere });
        }
    }
    found
}

/// Processes of the service, or that ask for the gate, whose library has another layout:
/// the gate's page means nothing to it, so nothing holds them.
pub fn other_layouts<'a>(
    census: &'a Census,
    service: &Service,
    profile: &str,
    reach: &Reach<'_>,
) -> Vec<(&'a Detached, LibraryLayout)> {
    let others = census.detached.values().filter_map(|d| Some((d, d.other_layout?)));
    let others = others.filter(|(d, _)| d.old_page.is_none() && !is_kin(d.pid, census));
    let mut others = others.peekable();
    if others.peek().is_none() {
        return Vec::new();
    }
    let at = service.gate;
    let ours = |d: &Detached| {
        // What its environment names is its own word, and says nothing of a process outside.
        let asks = d.asks_for == Some(at) && census.belongs(at, d.pid);
        let claims = || service.claims(census, d.pid, d.parent, reach).is_some();
        (asks || claims()) && !left_out(d.pid, profile)
    };
    others.filter(|(d, _)| ours(d)).collect()
}

/// Does the profile name programs, and not this one?
pub fn left_out(pid: i32, profile: &str) -> bool {
    let mut programs = profile::values(profile, Key::Program).peekable();
    // Of one that cannot be told nothing is known.
    let Some(exe) = programs.peek().and_then(|_| procfs::exe(pid)) else { return false };
    let exe = exe.as_os_str().as_encoded_bytes();
    !programs.any(|p| profile::glob(p.as_bytes(), exe))
}

/// Does it run one of [`PASSWORD_CHECKERS`], and has root marked that program set-id? The name alone
/// anybody can give to a program. What it has open in a protected directory, or changes there, tells.
fn checks_passwords(pid: i32) -> bool {
    let exe = procfs::exe(pid);
    let name = exe.as_ref().and_then(|exe| exe.file_name()?.to_str());
    name.is_some_and(|name| PASSWORD_CHECKERS.contains(&name))
        && procfs::origin(pid).is_some_and(|origin| origin.set_id == Some(0))
}

/// Does it run this very command? Where the loader brings the library to every program, this one too
/// has it, and takes no page.
pub fn runs_this_command(pid: i32) -> bool {
    let file = |of: &str| std::fs::metadata(format!("/proc/{of}/exe")).map(|m| (m.dev(), m.ino()));
    let (own, its) = (file("self"), file(&pid.to_string()));
    own.ok().zip(its.ok()).is_some_and(|(own, its)| own == its)
}

fn is_common(exe: &Path) -> bool {
    let name = exe.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    COMMON.contains(&plain)
}

/// What gated processes admit that they can do past the gate.
pub fn ways_past(census: &Census, at: usize) -> Vec<Finding> {
    let ways = [
        (region::FLAG_MAPS_SHARED, Cause::MapsShared),
        (region::FLAG_AIO, Cause::Aio),
        (region::FLAG_IO_URING, Cause::IoUring),
        (region::FLAG_LOCKS_UNKNOWN, Cause::LocksOverflowed),
        (region::FLAG_FOREIGN_CLOCK, Cause::NotHeld),
    ];
    let mut found = Vec::new();
    for member in census.alive(at) {
        let Some(view) = &member.view else { continue };
        let flags = view.header().flags.load(Relaxed);
        for (_, cause) in ways.iter().filter(|(flag, _)| flags & flag != 0) {
            let program = Some(member.stat.comm.clone());
            found.push(Finding::of(cause.clone(), member.pid, program));
        }
    }
    found
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
