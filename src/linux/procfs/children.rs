//! The children of a process: as the kernel lists them, or where it does not, by who names it as parent.
//!
//! `/proc/PID/task/TID/children` is an option of the kernel's (CONFIG_PROC_CHILDREN): a file that is not
//! there says nothing of children. Nor does the file of a thread that ends: its children go to another
//! thread, which may have been read before. Both times all processes are asked for their parent, once.

use super::bounded;
use super::hidden::hides_processes;
use super::stat::{LOOK_NS, is_gone, look_at, pids, threads};
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::look_time::LookTime;
use crate::linux::process;
use std::collections::HashMap;

/// The kernel's list of a thread.
const LIST: &str = "children";

/// Asks for the children of one process after the other, of one moment: made anew for each listing.
#[derive(Default)]
pub struct Children {
    /// All processes by their parent, where the kernel's lists did not do.
    by_parent: Option<Look<HashMap<i32, Vec<i32>>>>,
}

impl Children {
    /// The children of a process, of all its threads.
    pub fn of(&mut self, pid: i32) -> Look<Vec<i32>> {
        self.listed_in(pid, LIST)
    }

    /// `list`: the name of the kernel's list.
    fn listed_in(&mut self, pid: i32, list: &str) -> Look<Vec<i32>> {
        if self.by_parent.is_none() {
            match by_threads(pid, list) {
                Some(listed) => return listed,
                None => self.by_parent = Some(by_parent()),
            }
        }
        match &self.by_parent {
            Some(Look::Seen(all)) => match all.get(&pid) {
                Some(children) => Look::Seen(children.clone()),
                None if process::is_there(pid) => Look::Seen(Vec::new()),
                None => Look::Gone(Proof::NoProcess),
            },
            Some(Look::NotSeen(why)) => Look::NotSeen(*why),
            Some(Look::Gone(_)) | None => Look::NotSeen(WhyNot::Malformed),
        }
    }
}

/// The kernel's lists of all threads; none: one is not there.
fn by_threads(pid: i32, list: &str) -> Option<Look<Vec<i32>>> {
    let time = LookTime::of(LOOK_NS);
    let mut all = Vec::new();
    let tids = match threads(pid) {
        Look::Seen(tids) => tids,
        Look::Gone(proof) => return Some(Look::Gone(proof)),
        Look::NotSeen(why) => return Some(Look::NotSeen(why)),
    };
    for tid in tids {
        if time.is_over() {
            return Some(Look::NotSeen(WhyNot::TooMuch));
        }
        match bounded::whole(format!("/proc/{pid}/task/{tid}/{list}")) {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                all.extend(text.split_ascii_whitespace().filter_map(|id| id.parse::<i32>().ok()));
            }
            Err(e) if is_gone(&e) && process::is_there(pid) => return None,
            Err(e) if is_gone(&e) => return Some(Look::Gone(Proof::NoProcess)),
            Err(e) => return Some(Look::NotSeen(WhyNot::of(&e))),
        }
    }
    Some(Look::Seen(all))
}

/// All processes, by the parent that they name.
fn by_parent() -> Look<HashMap<i32, Vec<i32>>> {
    if hides_processes() {
        return Look::NotSeen(WhyNot::Hidden);
    }
    let all = match pids() {
        Ok(all) => all,
        Err(e) => return Look::NotSeen(WhyNot::of(&e)),
    };
    let mut by_parent: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in all {
        match look_at(pid) {
            Look::Seen(stat) => by_parent.entry(stat.ppid).or_default().push(pid),
            Look::Gone(_) => {}
            // Whose child it is cannot be told: it may be anybody's.
            Look::NotSeen(why) => return Look::NotSeen(why),
        }
    }
    Look::Seen(by_parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::sleeper::Sleeper;

    #[test]
    fn a_child_is_found_with_and_without_the_kernels_list() {
        let me = std::process::id() as i32;
        let child = Sleeper::new();
        let of = |list| match Children::default().listed_in(me, list) {
            Look::Seen(children) => children,
            _ => panic!("not seen"),
        };
        let found = [LIST, "no-such-list"].map(|list| of(list).contains(&child.pid()));
        child.end();
        assert_eq!(found, [true, true]);
    }

    #[test]
    fn who_is_not_there_has_no_children() {
        for list in [LIST, "no-such-list"] {
            let gone = Children::default().listed_in(i32::MAX, list);
            assert_eq!(gone, Look::Gone(Proof::NoProcess));
        }
    }
}
