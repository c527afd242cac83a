//! Lock files that a parent made, which is gone: they are its children's now.
//!
//! A dotlock has no descriptor that the kernel would show. It came with the fork, and whoever has it
//! from there is in flight as long as its file is there and no living process owns it.

use crate::census::dotlocks;
use crate::census::unaccounted::{UnaccountedLock, WhyUnaccounted};
use crate::drive::session::Session;
use crate::evidence::ancestry::is_kin;
use std::collections::HashMap;

impl Session {
    /// Adds the members to which one was left.
    pub(super) fn take_in_left_lock_files(
        &mut self,
        at: usize,
        unaccounted: &mut HashMap<usize, UnaccountedLock>,
    ) {
        for place in 0..self.census.gates[at].len() {
            let member = &self.census.gates[at][place];
            if member.gone || unaccounted.contains_key(&place) {
                continue;
            }
            let left = dotlocks::left_to(member, &self.census.gates[at]);
            if left.is_empty() || is_kin(member.pid, &self.census) {
                continue;
            }
            let Session { census, helper, .. } = self;
            let member = &census.gates[at][place];
            let there = left.into_iter().filter(|lock| dotlocks::is_there(member, lock, helper));
            let mut paths = there.map(|lock| dotlocks::path_of(member, &lock)).collect::<Vec<_>>();
            paths.retain(|path| !self.is_path_for_life(at, path));
            if let Some(path) = paths.pop() {
                let why = WhyUnaccounted::Inherited;
                unaccounted.insert(place, UnaccountedLock { path, why });
            }
        }
    }
}
