//! How much time the processes of one user are given, and those that hang. Any user may have thousands
//! of processes that are slow to look at, or hang; that costs so much, and hides none of another
//! user's. One dead disk makes many hang, of whichever user.

use crate::linux::procfs;
use std::collections::HashMap;

/// All processes of one ordinary user together.
const PER_USER_NS: u64 = 1_000_000_000;
/// A look that takes longer is counted.
pub const SLOW_NS: u64 = 3_000_000;
/// Looks that hung, all together: after that those that hang are given up sooner.
const HANGS_NS: u64 = 2_000_000_000;
/// Users below this are system accounts, and are given all the time that it takes.
const FIRST_ORDINARY_USER: u32 = 1000;
/// A user may have been given a range of so many more ids (/etc/subuid): they count as one.
const RANGE: u32 = 65_536;

/// What was spent so far, by user.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    spent: HashMap<u32, u64>,
    exhausted: bool,
    hangs_ns: u64,
}

impl Patience {
    /// A look at this process took so long.
    pub fn spend(&mut self, pid: i32, ns: u64) {
        if ns < SLOW_NS {
            return;
        }
        if let Some(user) = procfs::uid(pid).and_then(counted) {
            let spent = self.spent.entry(user).or_default();
            *spent += ns;
            self.exhausted |= *spent >= PER_USER_NS;
        }
    }

    /// A look at this process has hung for so long.
    pub fn hung(&mut self, pid: i32, ns: u64) {
        self.hangs_ns = self.hangs_ns.saturating_add(ns);
        self.spend(pid, ns);
    }

    /// Has so much hung by now that it is known to happen here?
    pub fn is_short(&self) -> bool {
        self.hangs_ns >= HANGS_NS
    }

    /// Has its user's all been spent?
    pub fn is_spent(&self, pid: i32) -> bool {
        self.exhausted
            && procfs::uid(pid)
                .and_then(counted)
                .and_then(|user| self.spent.get(&user))
                .is_some_and(|spent| *spent >= PER_USER_NS)
    }
}

/// Under which number an ordinary user is counted.
fn counted(user: u32) -> Option<u32> {
    match user {
        ..FIRST_ORDINARY_USER => None,
        FIRST_ORDINARY_USER..RANGE => Some(user),
        _ => Some(user / RANGE * RANGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_subordinate_ids_count_as_one() {
        assert_eq!((counted(0), counted(999)), (None, None));
        assert_eq!((counted(1000), counted(65_535)), (Some(1000), Some(65_535)));
        assert_eq!(counted(100_000), counted(100_000 + 30_000));
        assert_ne!(counted(100_000), counted(165_536));
    }
}
