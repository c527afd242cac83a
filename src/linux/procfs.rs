//! What `/proc` says about processes without taking their `mmap_lock`: `stat`,
//! `status`, `fdinfo`, `exe`, `cgroup`, `task`. None of it can hang on a process that is
//! stuck in a fault on a dead disk; `maps`, `cmdline`, `environ` can, and are the
//! helper's business.

use std::fs;
use std::path::PathBuf;

/// A process's identity and what `stat` says beside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Name, as the kernel keeps it (15 bytes).
    pub comm: String,
    /// R, S, D, T, Z, ...
    pub state: char,
    /// Parent.
    pub ppid: i32,
    /// Start time in ticks since boot: pid and this name a process for good.
    pub start: u64,
    /// Where its stack began. exec puts another there: pid, start and this name
    /// one *image* of a process (0 where we may not see it).
    pub image: u64,
    /// A kernel thread (PF_KTHREAD).
    pub kernel: bool,
    /// Its arguments and its environment are in place: no exec is under way (false also
    /// where we may not see it).
    pub in_place: bool,
}

/// `/proc/PID/stat`.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    let open = text.find('(')?;
    // The name may hold anything, `)` too.
    let close = text.rfind(')')?;
    let mut fields = text.get(close + 2..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    let start = fields.nth(12)?.parse().ok()?;
    let image = fields.nth(5)?.parse().ok()?;
    let arguments: u64 = fields.nth(19)?.parse().ok()?;
    Some(Stat {
        comm: text[open + 1..close].into(),
        state,
        ppid,
        start,
        image,
        kernel: flags & 0x0020_0000 != 0,
        in_place: arguments != 0,
    })
}

/// Every process there is.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process's threads that are alive, as the kernel lists them; none
/// where it does not (it is an option of the kernel's).
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Calls in which a thread sleeps until somebody tells it something.
const WAITS_FOR_OTHERS: [i64; 23] = [
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_pause,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_futex,
    libc::SYS_msgrcv,
    libc::SYS_mq_timedreceive,
];

/// Do all threads of this process sleep in such calls (or, if `clock`, until some time has
/// passed)? Also if it is dead.
pub fn waits_for_others(pid: i32, clock: bool) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).all(|tid: i32| {
        let of = format!("{pid}/task/{tid}");
        let state = fs::read_to_string(format!("/proc/{of}/stat")).ok();
        match state.and_then(|text| parse_stat(&text)).map(|stat| stat.state) {
            Some('S') => {}
            // On a processor, at the disk, stopped.
            Some(state) => return matches!(state, 'Z' | 'X'),
            None => return true,
        }
        let sleeps = [libc::SYS_nanosleep, libc::SYS_clock_nanosleep];
        syscall_fd(pid, tid).is_some_and(|(call, _)| {
            WAITS_FOR_OTHERS.contains(&call) || clock && sleeps.contains(&call)
        })
    })
}

/// Does the kernel know a write lock of this process, on a file that it has open?
pub fn holds_a_write_lock(pid: i32) -> bool {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    infos
        .filter_map(|info| fs::read_to_string(info.path()).ok())
        .any(|text| text.lines().any(|line| line.starts_with("lock:") && line.contains(" WRITE ")))
}

/// The last process id that was given out: unchanged means that nobody was born.
pub fn last_pid() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The id of a process (or `PID/task/TID`) in its innermost PID namespace.
pub fn innermost_pid(of: &str) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{of}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

/// Effective user of a process.
pub fn uid(pid: i32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The program a process runs.
pub fn exe(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Its control group: version 2, or the systemd hierarchy's of version 1. Where both
/// are mounted (hybrid) either may be the one that carries the unit, and the other `/`.
pub fn cgroup(pid: i32) -> Option<String> {
    parse_cgroup(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn parse_cgroup(text: &str) -> Option<String> {
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    let systemd = text.lines().find_map(|l| l.split_once(":name=systemd:").map(|(_, path)| path));
    unified.filter(|path| *path != "/").or(systemd).or(unified).map(str::to_owned)
}

/// The descriptor that a thread's present system call has as its first argument.
pub fn syscall_fd(pid: i32, tid: i32) -> Option<(i64, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let number = fields.next()?.parse().ok()?;
    let first = fields.next()?.strip_prefix("0x")?;
    Some((number, u64::from_str_radix(first, 16).ok()? as i32))
}

/// Where the stack of a thread ends that sleeps in the kernel; none while it runs.
pub fn stack_pointer(pid: i32, tid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
    stack_pointer_in(&text)
}

/// "number six-arguments stack-pointer instruction", or "-1 stack-pointer
/// instruction" outside a system call, or "running".
fn stack_pointer_in(text: &str) -> Option<u64> {
    let hex = text.split_ascii_whitespace().rev().nth(1)?.strip_prefix("0x")?;
    u64::from_str_radix(hex, 16).ok()
}

/// Do both addresses lie in one mapping of the process?
pub fn one_mapping(pid: i32, low: u64, high: u64) -> bool {
    let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else { return false };
    maps.lines().filter_map(|line| line.split(' ').next()?.split_once('-')).any(|(from, to)| {
        let bound = |hex| u64::from_str_radix(hex, 16).unwrap_or(0);
        (bound(from)..bound(to)).contains(&low) && (bound(from)..bound(to)).contains(&high)
    })
}

/// The thread of `pid` (as we number it) that calls itself `tid` in its namespace.
pub fn thread(pid: i32, same_namespace: bool, tid: i32) -> Option<i32> {
    if same_namespace {
        return PathBuf::from(format!("/proc/{pid}/task/{tid}")).exists().then_some(tid);
    }
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    tasks
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .find(|outer| innermost_pid(&format!("{pid}/task/{outer}")) == Some(tid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_pointer_is_the_last_but_one() {
        let asleep = "0 0x0 0x7ffd1 0x1 0x0 0x0 0x0 0x7ffd8 0x7f00\n";
        assert_eq!(stack_pointer_in(asleep), Some(0x7ffd8));
        assert_eq!(stack_pointer_in("-1 0x7ffd8 0x7f00\n"), Some(0x7ffd8));
        assert_eq!(stack_pointer_in("running\n"), None);
    }

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let text = "12 (a) b) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1 2 3 4 5 6666 0 \
                    0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 2 3 48 49 50 51 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.comm.as_str(), stat.state, stat.ppid), ("a) b", 'S', 7));
        assert_eq!((stat.start, stat.image, stat.kernel), (999, 6666, false));
        assert!(stat.in_place && !parse_stat(&text.replace(" 48 ", " 0 ")).unwrap().in_place);
    }

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
        assert!(pids().contains(&me));
        let stat = stat(me).unwrap();
        assert!(stat.start > 0 && stat.image > 0 && !stat.kernel && stat.in_place);
        assert_eq!(innermost_pid(&me.to_string()), Some(me));
        let mut child = std::process::Command::new("sleep").arg("9").spawn().unwrap();
        assert!(children(me).contains(&(child.id() as i32)));
        assert!(!waits_for_others(child.id() as i32, false), "for the clock");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!waits_for_others(me, true) && waits_for_others(child.id() as i32, false));
    }
}
