//! All that a freeze of one or more gates works with.

use crate::census::list::Census;
use crate::census::member::Member;
use crate::drive::barrier;
use crate::gatedir::Gate;
use crate::linux::helper::owner::Helper;
use crate::linux::membarrier::Membarrier;
use crate::linux::priority::Priority;
use crate::linux::signals::Signals;
use crate::places::Places;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Acquire;

/// All that a freeze of one or more gates works with.
pub struct Session {
    /// The gates, in the order of their locks.
    pub gates: Vec<Gate>,
    /// Their processes.
    pub census: Census,
    /// The process that looks into them.
    pub helper: Helper,
    /// How plain stores are made visible.
    pub membarrier: Membarrier,
    /// What may interrupt.
    pub signals: Signals,
    /// How urgently we were run when we were started.
    pub priority: Priority,
    /// When the last of the gates' locks was ours.
    pub locked_at: u64,
    /// The protected directories, by gate, as far as they are known.
    pub protected: Vec<Places>,
    /// Processes that are held at rest when all else is drained: their locks are looked at then.
    pub held_later: BTreeSet<i32>,
}

impl Session {
    /// Brings copies up to date; what cannot be read is unknown.
    pub fn refresh(&mut self, at: usize) {
        let copied = |m: &Member| !m.gone && m.view.as_ref().is_some_and(|v| v.copied);
        if !self.census.gates[at].iter().any(copied) {
            return;
        }
        let failed = self.helper.refresh();
        // Of whichever gate: all copies are made at once.
        for member in self.census.gates.iter_mut().flatten().filter(|m| copied(m)) {
            if failed.as_ref().is_none_or(|failed| failed.contains(&member.pid)) {
                // Dead, in another image, or the helper is gone: look anew.
                member.unknown = true;
            }
        }
    }

    /// Lowers every barrier, without judging anything.
    pub fn open_all(&self) {
        for gate in &self.gates {
            let page = gate.page.get();
            if page.words().iter().any(|word| word.load(Acquire) != 0) {
                barrier::lower(page);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open_all();
    }
}
