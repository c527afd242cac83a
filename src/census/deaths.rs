//! Which members have died, and which of them inside a section.

use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::look::Look;
use crate::linux::poll::readable;
use crate::linux::procfs;
use std::os::fd::{AsFd, BorrowedFd};

impl Census {
    /// Those that died inside a section while we looked.
    pub fn died_in_section(&self, gate: usize) -> Vec<(i32, ForeignText)> {
        let of_gate = self.died.iter().filter(|(at, ..)| *at == gate);
        of_gate.map(|(_, pid, program)| (*pid, program.clone())).collect()
    }

    /// Notes which have died. True if one has.
    pub fn remove_dead(&mut self) -> bool {
        let mut some = false;
        for (gate, members) in self.gates.iter_mut().enumerate() {
            let watched: Vec<(usize, BorrowedFd<'_>)> = members
                .iter()
                .enumerate()
                .filter(|(_, m)| !m.gone)
                .filter_map(|(at, m)| m.pidfd.as_ref().map(|fd| (at, fd.as_fd())))
                .collect();
            let fds: Vec<BorrowedFd<'_>> = watched.iter().map(|(_, fd)| *fd).collect();
            let states = watched.iter().map(|(at, _)| *at).zip(readable(&fds));
            let dead: Vec<usize> = states.filter(|(_, dead)| *dead).map(|(at, _)| at).collect();
            some |= !dead.is_empty();
            for at in dead {
                let member = &mut members[at];
                member.gone = true;
                if member.is_cut_by_death() {
                    self.died.push((gate, member.pid, member.stat.comm.clone()));
                }
            }
            // Without handles (old kernels): pid and start time.
            for m in members.iter_mut().filter(|m| !m.gone && m.pidfd.is_none()) {
                m.gone = match procfs::look_at(m.pid) {
                    Look::Seen(now) => now.start != m.stat.start || now.is_dead(),
                    Look::Gone(_) => true,
                    Look::NotSeen(_) => false,
                };
                some |= m.gone;
            }
        }
        some
    }
}
