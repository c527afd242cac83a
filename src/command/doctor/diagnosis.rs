//! A diagnosis: what holds for a process, its cause, one sentence on it, and the cure.

use super::gate_survey::RegionSeen;
use super::observation::Observation;
use gate::layout::LAYOUT;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Does the gate hold a process?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// The gate holds it.
    Gated,
    /// It writes past the gate.
    NotGated,
    /// The profile leaves it out on purpose.
    LeftOut,
    /// It could not be looked into.
    Unknown,
}

/// The one list of causes: name, stable word for machines, what it means for the gate.
macro_rules! causes {
    ($($name:ident $word:literal $membership:ident)*) => {
        /// Why a process is gated, or is not. `docs/admin/doctor.md` explains each.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs)]
        pub enum Cause {
            $($name),*
        }

        impl Cause {
            /// All of them.
            #[cfg(test)]
            pub const ALL: &[Cause] = &[$(Cause::$name),*];

            /// As JSON has it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Cause::$name => $word),*
                }
            }

            /// What it means for the gate.
            pub fn membership(self) -> Membership {
                match self {
                    $(Cause::$name => Membership::$membership),*
                }
            }
        }
    };
}

causes! {
    Gated             "gated"              Gated
    Hung              "hung"               Unknown
    Unseen            "unseen"             Unknown
    RegionDenied      "region-denied"      Unknown
    Profile           "profile"            LeftOut
    TimeNamespace     "time-namespace"     NotGated
    NotHeld           "not-held"           NotGated
    NoMemory          "no-memory"          NotGated
    DeliveriesOutside "deliveries-outside" NotGated
    OldLayout         "old-layout"         NotGated
    OtherGate         "other-gate"         NotGated
    OwnGateInChroot   "own-gate-in-chroot" NotGated
    OldPage           "old-page"           NotGated
    OtherLayout       "other-layout"       NotGated
    Page              "page"               NotGated
    SecureGate        "secure-gate"        NotGated
    PageHidden        "page-hidden"        NotGated
    UserNamespace     "user-namespace"     NotGated
    BootId            "boot-id"            NotGated
    PageYounger       "page-younger"       NotGated
    Detached          "detached"           NotGated
    WordSize          "word-size"          NotGated
    Static            "static"             NotGated
    SetId             "set-id"             NotGated
    LibraryMissing    "library-missing"    NotGated
    LibraryUnreadable "library-unreadable" NotGated
    Confined          "confined"           NotGated
    NotLoaded         "not-loaded"         NotGated
    Scrubbed          "scrubbed"           NotGated
    NotRestarted      "not-restarted"      NotGated
    NotAsked          "not-asked"          NotGated
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The diagnosis of one process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnosis {
    /// What holds.
    #[serde(rename = "state")]
    pub membership: Membership,
    /// Why.
    pub cause: Cause,
    /// In one sentence; empty: nothing to say.
    pub reason: String,
    /// What to do.
    pub cure: String,
    /// What is not covered although it is gated.
    pub gaps: Vec<String>,
    /// Calls of the table that its libc lacks: nothing there to hook, or to call.
    #[serde(rename = "lacks")]
    pub absent_calls: Vec<&'static str>,
}

impl Diagnosis {
    /// One without gaps.
    pub fn new(cause: Cause, reason: impl Into<String>, cure: impl Into<String>) -> Diagnosis {
        Diagnosis {
            membership: cause.membership(),
            cause,
            reason: reason.into(),
            cure: cure.into(),
            gaps: Vec::new(),
            absent_calls: Vec::new(),
        }
    }

    /// Gated, and nothing to say.
    pub fn gated() -> Diagnosis {
        Diagnosis::new(Cause::Gated, "", "")
    }
}

/// What a diagnosis needs beside the process itself.
pub struct Context<'a> {
    /// The gate's name.
    pub gate: &'a str,
    /// Its directory.
    pub dir: &'a str,
    /// Why its page cannot be used, if it cannot.
    pub page_fault: Option<&'a str>,
    /// The layout of the page, where that was read.
    pub page_layout: Option<u32>,
    /// The page's inode.
    pub page_ino: u64,
    /// When the page was made, ns since 1970; 0: unknown.
    pub page_made_ns: u64,
    /// The profile in force.
    pub profile: &'a str,
    /// All that were looked at, by process.
    pub observed: &'a BTreeMap<i32, Observation>,
    /// When the drop-in that loads the library was written, by unit.
    pub dropins: &'a BTreeMap<String, u64>,
    /// What the census knows of the region, by process.
    pub regions: &'a BTreeMap<i32, RegionSeen>,
}

impl Context<'_> {
    /// The gate's page, by its path.
    pub fn control(&self) -> String {
        format!("{}/control", self.dir)
    }

    /// The page's layout, if this command does not understand it.
    pub fn other_page_layout(&self) -> Option<u32> {
        self.page_layout.filter(|layout| *layout != LAYOUT)
    }

    /// Was the process started before the page was made? Clocks and file times are not
    /// finer than some ms.
    pub fn page_is_younger_than(&self, process: &Observation) -> bool {
        self.page_made_ns > process.started_ns + 20_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_explain_each_cause() {
        let page = include_str!("../../../docs/admin/doctor.md");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        for cause in Cause::ALL.iter().filter(|cause| **cause != Cause::Gated) {
            let named = format!("`{}`", cause.word());
            assert!(rows.iter().any(|row| row.contains(&named)), "{named} has no row in doctor.md");
        }
    }
}
