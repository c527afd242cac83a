//! Who may map a page and cannot be seen from here: processes of other PID namespaces.

use crate::census::list::Census;
use crate::linux::clock;
use crate::linux::marks::{Hidden, Marks};
use crate::linux::namespaces::{own_pid_namespace, pid_namespace};
use crate::linux::procfs;
use gate::mark::{self, FIRST};
use std::collections::HashSet;

/// How often, and how far apart, it is asked again: whoever has ended since the list was made
/// takes its mark with it, a little later.
const LOOKS: usize = 20;
const BETWEEN_LOOKS_NS: u64 = 1_000_000;

impl Census {
    /// Looks from where each gate's page is mapped.
    pub(super) fn look_for_hidden(&mut self) {
        let own = own_pid_namespace();
        if own == FIRST {
            return;
        }
        for look in 1..=LOOKS {
            self.hidden = self.marks.iter().map(|marks| hidden(own, marks)).collect();
            if look == LOOKS || self.hidden.iter().all(Option::is_none) {
                break;
            }
            clock::sleep_ns(BETWEEN_LOOKS_NS);
        }
    }
}

fn hidden(own: u64, marks: &Marks) -> Option<Hidden> {
    let marked = match marks.namespaces() {
        Ok(marked) => marked,
        Err(why) => return Some(Hidden::NotTold(why)),
    };
    let seen = match marked.iter().all(|namespace| *namespace == own) {
        true => HashSet::new(),
        false => namespaces_seen(),
    };
    mark::hidden(own, marks.made_in, marked, |namespace| seen.contains(&namespace))
        .map(Hidden::Known)
}

/// The PID namespaces of all processes that can be seen. One that cannot be told is not seen.
fn namespaces_seen() -> HashSet<u64> {
    let pids = procfs::pids().unwrap_or_default();
    pids.into_iter().filter_map(|pid| pid_namespace(&pid.to_string())).collect()
}
