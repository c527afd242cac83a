//! What the tracer is started for, what it is asked, and what it answers.

use crate::hold::report::{Released, Report};
use crate::hold::selection::Selection;
use serde::{Deserialize, Serialize};

/// What the tracer is started for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The profile's text: its `lifetime-lock` lines count.
    pub profile: String,
}

/// What the tracer is asked.
#[derive(Serialize, Deserialize)]
pub enum Ask {
    /// Bring all to rest until `until`, and let them go at the latest at `deadline`.
    Hold {
        /// Whom.
        selection: Selection,
        /// CLOCK_MONOTONIC, ns.
        until: u64,
        /// The same.
        deadline: u64,
    },
    /// They are at rest, and a lock that is only a file is there: let all run for a moment, and bring
    /// them to rest again.
    Again,
    /// Let them go.
    Release,
}

/// What the tracer tells.
#[derive(Serialize, Deserialize)]
pub enum Tell {
    /// It can begin.
    Ready,
    /// They are at rest, or it has given up.
    Held(Report),
    /// They are let go.
    Released(Released),
}
