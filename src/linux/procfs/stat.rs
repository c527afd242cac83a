//! `/proc/PID/stat`: a process's identity; and which processes and threads there are.

use super::bounded;
use crate::foreign_text::ForeignText;
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::look_time::LookTime;
use crate::linux::process;
use std::fs;
use std::io;

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
    /// It has no other thread.
    pub alone: bool,
    /// The thread by which the process is looked at: the first, or where that has ended another
    /// one that lives (`/proc/TID` shows the memory and the files that the first has lost).
    pub by: i32,
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

/// Looks at `/proc/PID/stat`. Of a process whose first thread has ended while others live, what
/// one of them shows.
pub fn look_at(pid: i32) -> Look<Stat> {
    let failed = match stat_of(&pid.to_string()) {
        // Where orphans are not reaped there are hundreds.
        Ok(stat) if stat.is_dead() && !stat.alone => return look_at_threads(pid, stat),
        Ok(stat) => return Look::Seen(stat),
        Err(e) => WhyNot::of(&e),
    };
    match process::is_there(pid) {
        true => Look::NotSeen(failed),
        false => Look::Gone(Proof::NoProcess),
    }
}

/// The first thread is dead: the whole process, if all are.
fn look_at_threads(pid: i32, leader: Stat) -> Look<Stat> {
    let tids = match threads(pid) {
        Look::Seen(tids) => tids,
        Look::Gone(proof) => return Look::Gone(proof),
        Look::NotSeen(why) => return Look::NotSeen(why),
    };
    let time = LookTime::of(LOOK_NS);
    for tid in tids {
        if time.is_over() {
            return Look::NotSeen(WhyNot::TooMuch);
        }
        match stat_of(&format!("{pid}/task/{tid}")) {
            Ok(thread) if !thread.is_dead() => {
                let start = leader.start;
                return Look::Seen(Stat { start, ppid: leader.ppid, comm: leader.comm, ..thread });
            }
            Err(e) if !is_gone(&e) => return Look::NotSeen(WhyNot::of(&e)),
            _ => {}
        }
    }
    Look::Seen(leader)
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The thread by which a process is looked at now ([`Stat::by`]).
pub fn seen_by(pid: i32) -> i32 {
    match runs_a_program(pid) {
        // Its first thread has its memory still, and gives up its files after that.
        Some(true) => pid,
        _ => stat(pid).map_or(pid, |stat| stat.by),
    }
}

/// Has the first thread of this process memory and a program in it? A kernel thread never has, and one
/// that exits has no more. None: that cannot be told. (Some µs, where `stat` takes 20 to 50.)
pub fn runs_a_program(pid: i32) -> Option<bool> {
    match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(_) => Some(true),
        Err(e) if is_gone(&e) => Some(false),
        Err(_) => None,
    }
}

/// What a process is, for what shows it: none if it is gone or cannot be looked at. Nothing may
/// be decided by the difference.
pub fn stat(pid: i32) -> Option<Stat> {
    match look_at(pid) {
        Look::Seen(stat) => Some(stat),
        Look::Gone(_) | Look::NotSeen(_) => None,
    }
}

/// The `stat` of one thread, for what shows it or asks again: none if it is gone or cannot
/// be looked at.
pub fn thread_stat(pid: i32, tid: i32) -> Option<Stat> {
    stat_of(&format!("{pid}/task/{tid}")).ok()
}

/// The same of a process or of a thread (`PID/task/TID`).
pub(super) fn stat_of(of: &str) -> io::Result<Stat> {
    // The kernel cuts the name after 15 bytes, perhaps inside a character.
    parse(&bounded::page(&format!("/proc/{of}/stat"))?)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Its text, as the kernel prints it.
pub fn parse(text: &str) -> Option<Stat> {
    let open = text.find('(')?;
    let by = text[..open].trim().parse().ok()?;
    // The name may hold anything, `)` too.
    let close = text.rfind(')')?;
    let mut fields = text.get(close + 2..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    let threads: u64 = fields.nth(10)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
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
        // None: it is being taken away.
        alone: threads <= 1,
        in_place: arguments != 0,
        by,
    })
}

/// Every process there is.
pub fn pids() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// The threads of a process.
pub fn threads(pid: i32) -> Look<Vec<i32>> {
    let list = || -> io::Result<Vec<i32>> {
        let mut tids = Vec::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            tids.extend(task?.file_name().to_str().and_then(|tid| tid.parse::<i32>().ok()));
        }
        Ok(tids)
    };
    match list() {
        Ok(tids) => Look::Seen(tids),
        Err(_) if !process::is_there(pid) => Look::Gone(Proof::NoProcess),
        Err(e) => Look::NotSeen(WhyNot::of(&e)),
    }
}

/// The last process id that was given out: unchanged means that no process was born. None: it cannot
/// be told.
pub fn last_pid() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().last()?.parse().ok()
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
        let with_another = parse(&text.replace(" 20 0 1 0 999", " 20 0 2 0 999")).unwrap();
        assert!(stat.alone && !with_another.alone && with_another.start == 999);
        assert!(stat.in_place && !parse(&text.replace(" 48 ", " 0 ")).unwrap().in_place);
        let kernel = parse(&text.replace("4194560", "2129988")).unwrap();
        assert!(kernel.kernel && kernel.exiting);
    }

    #[test]
    fn we_see_ourselves() {
        let me = std::process::id() as i32;
        assert!(pids().unwrap().contains(&me));
        let stat = stat(me).unwrap();
        assert_eq!(stat.by, me);
        assert!(stat.start > 0 && stat.image > 0 && !stat.kernel && stat.in_place);
    }

    #[test]
    fn a_look_at_what_never_was_is_a_proof() {
        assert_eq!(look_at(i32::MAX), Look::Gone(Proof::NoProcess));
    }

    #[test]
    fn a_name_in_another_alphabet_and_cut_is_a_name() {
        let mut bytes =
            b"12 (\xc3) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1 2 3 4 5 6666 0 "
                .to_vec();
        bytes.extend(b"0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 2 3 48 49 50 51 0");
        assert_eq!(parse(&String::from_utf8_lossy(&bytes)).unwrap().start, 999);
    }
}
