//! What is held at rest beside the barrier of a freeze.

use crate::freeze::hold_end::{HoldEnd, end_of};
use crate::hold::owner::Tracer;
use crate::hold::report::Report;
use crate::outcome::held::HeldProcess;
use crate::outcome::ledger::Barrier;
use gate::profile::{self, Key};

/// What is held beside the barrier.
#[derive(Default)]
pub struct HeldBeside {
    pub(super) tracer: Option<Tracer>,
    pub(super) report: Option<Report>,
    /// How the hold fared, where it stood.
    pub(super) fared: Option<Barrier>,
}

impl HeldBeside {
    /// How the hold fared; none: nothing was to be held.
    pub fn fared(&self) -> Option<Barrier> {
        self.fared
    }

    /// Those that were held.
    pub fn held(&self) -> &[HeldProcess] {
        let stood = self.report.as_ref().filter(|report| end_of(report) == HoldEnd::AtRest);
        stood.map(|report| report.held.as_slice()).unwrap_or_default()
    }
}

/// Does the profile ask for it?
pub fn is_wanted(profile: &str) -> bool {
    profile::values(profile, Key::Hold).next().is_some()
}
