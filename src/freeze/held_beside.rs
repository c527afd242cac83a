//! What is held at rest beside the barrier of a freeze.

use crate::evidence::to_hold::Whom;
use crate::evidence::wanted::Wanted;
use crate::freeze::hold_end::{HoldEnd, end_of};
use crate::hold::owner::Tracer;
use crate::hold::report::Report;
use crate::outcome::held::HeldProcess;
use crate::outcome::ledger::Barrier;
use gate::profile::{self, Key, UNGATED};

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

/// Whom the profile and these options ask for.
pub fn wanted(profile: &str, options: &Wanted) -> Whom {
    let by_profile: Vec<&str> = profile::values(profile, Key::Hold).collect();
    let programs =
        by_profile.iter().filter(|value| **value != UNGATED).map(|value| String::from(*value));
    let programs: Vec<String> = programs.chain(options.hold_programs.iter().cloned()).collect();
    let any = options.hold_ungated || !by_profile.is_empty() || !programs.is_empty();
    Whom { any, programs }
}
