//! Lets single processes pass the closed barrier, and takes that back.

use crate::drive::barrier;
use crate::drive::progress::GateDrain;
use crate::drive::session::Session;
use gate::admission::{Admission, Grant, must_revoke};
use gate::control::ANY_SEQUENCE;

impl Session {
    /// Lets this one pass, if there is a place.
    pub(super) fn admit(&self, at: usize, drain: &mut GateDrain, candidate: Admission) {
        self.forget_ended(at, drain);
        if barrier::admit(self.gates[at].page.get(), candidate) {
            drain.grants.push(Grant { candidate });
        }
    }

    /// Takes back what must be, by the pass that was just read.
    pub(super) fn revoke(&self, at: usize, drain: &mut GateDrain) {
        let views = drain.reading.views();
        let page = self.gates[at].page.get();
        drain.grants.retain(|grant| {
            let back = must_revoke(grant, &views);
            if back {
                barrier::revoke(page, grant.candidate);
            }
            !back
        });
    }

    /// Forgets admissions that have ended by themselves, so that their places are free.
    fn forget_ended(&self, at: usize, drain: &mut GateDrain) {
        let page = self.gates[at].page.get();
        let views = drain.reading.views();
        drain.grants.retain(|grant| {
            let c = grant.candidate;
            let ended = c.lock_sequence != ANY_SEQUENCE
                && !views.iter().any(|p| p.nonce == c.nonce && p.lock_sequence == c.lock_sequence);
            if ended {
                barrier::revoke(page, c);
            }
            !ended
        });
    }
}
