//! `/proc/PID/stat`: a process's identity; and which processes there are.

use super::bounded;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use std::fs;

/// The kernel's flag of a kernel thread (PF_KTHREAD, include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;
/// Of a thread that is on its way out (PF_EXITING).
const PF_EXITING: u64 = 0x0000_0004;

/// A process may have tens of thousands of threads: what this time does not suffice for is not
/// looked at.
pub(super) const LOOK_NS: u64 = 20_000_000;

/// A process's identity and what `stat` says beside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Name, as the kernel keeps it (15 bytes).
    pub comm: ForeignText,
    /// R, S, D, T, Z, ...
    pub state: char,
    /// Parent.
    pub ppid: i32,
    /// Start time in ticks since boot: pid and this name a process for good.
    pub start: u64,
    /// Where its stack began. exec puts another there: pid, start and this name
    /// one *image* of a process (0 where we may not see it).
    pub image: u64,
    /// A kernel thread.
    pub kernel: bool,
    /// Has begun to exit.
    pub exiting: bool,
    /// Its arguments and its environment are in place: no exec is under way (false also
    /// where we may not see it).
    pub in_place: bool,
}

impl Stat {
    /// Dead: a zombie, or being taken away.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Stopped (SIGSTOP, a debugger): it cannot move.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// `/proc/PID/stat`.
pub fn stat(pid: i32) -> Option<Stat> {
    stat_of(&pid.to_string())
}

/// The same of a process or of a thread (`PID/task/TID`).
pub(super) fn stat_of(of: &str) -> Option<Stat> {
    // The kernel cuts the name after 15 bytes, perhaps inside a character.
    parse(&bounded::page(&format!("/proc/{of}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
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
        kernel: flags & PF_KTHREAD != 0,
        exiting: flags & PF_EXITING != 0,
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
    let until = clock::now_ns() + LOOK_NS;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let tasks = tasks.take_while(|_| clock::now_ns() < until);
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The last process id that was given out: unchanged means that no process was born.
pub fn last_pid() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_spaces() {
        let text = "12 (a) b) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1 2 3 4 5 6666 0 \
                    0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 2 3 48 49 50 51 0";
        let stat = parse(text).unwrap();
        assert_eq!((stat.comm.raw(), stat.state, stat.ppid), ("a) b", 'S', 7));
        assert_eq!((stat.start, stat.image, stat.kernel, stat.exiting), (999, 6666, false, false));
        assert!(stat.in_place && !parse(&text.replace(" 48 ", " 0 ")).unwrap().in_place);
        let kernel = parse(&text.replace("4194560", "2129988")).unwrap();
        assert!(kernel.kernel && kernel.exiting);
    }

    #[test]
    fn we_see_ourselves_and_our_child() {
        let me = std::process::id() as i32;
        assert!(pids().contains(&me));
        let stat = stat(me).unwrap();
        assert!(stat.start > 0 && stat.image > 0 && !stat.kernel && stat.in_place);
        let mut child = std::process::Command::new("sleep").arg("9").spawn().unwrap();
        assert!(children(me).contains(&(child.id() as i32)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
