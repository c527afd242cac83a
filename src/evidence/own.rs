//! Whose a change is: the snapshot command's and ours, or another's.
//!
//! The process that made a change is often gone when we read of it, and its parent is not to be asked any
//! more. So the kernel tells who is born while we watch; where it does not, or more were born than we
//! read, a process that is gone is taken for another's.

use super::ancestry::reaches;
use crate::linux::births::{Birth, Births};
use std::collections::HashSet;
use std::os::fd::BorrowedFd;

/// The processes of the command and our own.
#[derive(Default)]
pub struct Own {
    command: Option<i32>,
    births: Option<Births>,
    /// Those that were born to one of them since.
    born: HashSet<i32>,
}

impl Own {
    /// From now on it is told who is born.
    pub fn listen(&mut self) {
        self.births = Births::listen().ok();
    }

    /// The command runs now.
    pub fn command_is(&mut self, pid: i32) {
        self.command = Some(pid);
    }

    /// Is this process one of them?
    pub fn is(&mut self, pid: i32) -> bool {
        self.hear();
        self.born.contains(&pid) || reaches(pid, |at| self.is_root(at))
    }

    fn is_root(&self, pid: i32) -> bool {
        Some(pid) == self.command || pid == std::process::id() as i32
    }

    /// Takes in who was born.
    pub fn hear(&mut self) {
        let Some(births) = self.births.take() else { return };
        loop {
            match births.next() {
                Ok(Some(birth)) => self.take_in(birth),
                Ok(None) => break self.births = Some(births),
                // With those that were lost one of these numbers may have become another's.
                Err(_) => break self.born.clear(),
            }
        }
    }

    fn take_in(&mut self, Birth { parent, child }: Birth) {
        match self.is_root(parent) || self.born.contains(&parent) {
            true => self.born.insert(child),
            // A number that is used again.
            false => self.born.remove(&child),
        };
    }

    /// Readable when somebody was born.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.births.as_ref().map(Births::fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_descends_from_the_command_is_own_until_its_number_is_used_again() {
        let mut own = Own::default();
        // Numbers that no process has.
        let (command, child, grandchild, other) =
            (i32::MAX - 4, i32::MAX - 3, i32::MAX - 2, i32::MAX - 1);
        own.command_is(command);
        own.take_in(Birth { parent: command, child });
        own.take_in(Birth { parent: child, child: grandchild });
        own.take_in(Birth { parent: other, child: i32::MAX });
        assert!(own.is(child) && own.is(grandchild) && !own.is(other) && !own.is(i32::MAX));
        own.take_in(Birth { parent: other, child: grandchild });
        assert!(own.is(child) && !own.is(grandchild));
        assert!(own.is(std::process::id() as i32));
    }
}
