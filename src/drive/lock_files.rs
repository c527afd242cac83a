//! Lock files that a parent made, which is gone: they are its children's now.
//!
//! A dotlock has no descriptor that the kernel would show. It came with the fork, and whoever has it
//! from there is in flight as long as its file is there and no living process owns it.

use crate::census::dotlocks;
use crate::census::unaccounted::{UnaccountedLock, WhyUnaccounted};
use crate::drive::session::Session;
use crate::evidence::ancestry::is_kin;
use crate::linux::helper::protocol::LeftFile;
use std::collections::HashMap;

impl Session {
    /// Adds the members to which one was left.
    pub(super) fn take_in_left_lock_files(
        &mut self,
        at: usize,
        unaccounted: &mut HashMap<usize, UnaccountedLock>,
    ) {
        for place in 0..self.census.gates[at].len() {
            let Session { census, helper, .. } = self;
            let members = &census.gates[at];
            let member = &members[place];
            let orphan = || member.parent.is_none_or(|parent| members[parent].gone);
            if member.gone || unaccounted.contains_key(&place) {
                continue;
            }
            let left = match member.fresh_fork {
                // It has shown nothing itself so far: what it maps is its parent's.
                true if orphan() => {
                    let looked = helper.look(&[member.pid]).pop();
                    looked.map(|(looked, _)| looked.left).unwrap_or_default()
                }
                true => Vec::new(),
                false => dotlocks::left_to(member),
            };
            let owned = |file: &LeftFile| members.iter().any(|other| dotlocks::owns(other, file));
            let left = left.into_iter().filter(|file| !owned(file)).collect::<Vec<_>>();
            if left.is_empty() || is_kin(member.pid, census) {
                continue;
            }
            let pid = member.pid;
            let there = left.into_iter().filter(|file| dotlocks::is_there(pid, file, helper));
            let mut paths = there
                .map(|file| String::from_utf8_lossy(&file.path).into_owned())
                .collect::<Vec<_>>();
            paths.retain(|path| !self.is_path_for_life(at, path));
            if let Some(path) = paths.pop() {
                let why = WhyUnaccounted::Inherited;
                unaccounted.insert(place, UnaccountedLock { path, why });
            }
        }
    }
}
