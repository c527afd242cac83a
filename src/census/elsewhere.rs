//! Which processes are another gate's.

use crate::census::list::Census;
use crate::linux::look::Look;
use crate::linux::procfs;

impl Census {
    /// Is it held by another gate, in the image that was looked at? Then none of its descriptors need be
    /// asked.
    pub fn is_of_another_gate(&self, pid: i32) -> bool {
        let is_the_one_seen = || match (procfs::look_at(pid), self.seen.get(&pid)) {
            (Look::Seen(now), Some(seen)) => {
                (now.start, now.image) == (seen.start, seen.image) && !seen.kind.may_come()
            }
            _ => false,
        };
        self.elsewhere.contains(&pid) && is_the_one_seen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::census::kinds::{ProcessKind, Seen};
    use crate::linux::procfs::sleeper::Sleeper;

    /// It held another gate's page when it was looked at, and has become something else since.
    #[test]
    fn what_another_gate_held_is_asked_again_in_another_image() {
        let child = Sleeper::new();
        let pid = child.pid();
        let now = procfs::stat(pid).unwrap();
        let is_anothers = |start, image, kind, elsewhere: bool| {
            let mut census = Census::default();
            census.seen.insert(pid, Seen { start, image, parent: 1, kind });
            census.elsewhere.extend(elsewhere.then_some(pid));
            census.is_of_another_gate(pid)
        };
        let other = ProcessKind::Other;
        let found = [
            is_anothers(now.start, now.image, other, true),
            is_anothers(now.start, now.image, other, false),
            is_anothers(now.start, now.image + 1, other, true),
            is_anothers(now.start + 1, now.image, other, true),
            is_anothers(now.start, now.image, ProcessKind::Undecided, true),
        ];
        child.end();
        assert_eq!(found, [true, false, false, false, false]);
        assert!(!is_anothers(now.start, now.image, other, true), "gone");
    }
}
