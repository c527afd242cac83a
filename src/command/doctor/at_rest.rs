//! What would do before a cure, or instead of one: processes that no gate holds can be stopped at rest for
//! the snapshot (`freeze --hold-ungated`, `freeze --unit`).

use super::diagnosis::Membership;
use super::selection::Selection;
use super::survey::Survey;
use crate::outcome::cause::Cause;
use crate::outcome::finding::Finding;
use serde::Serialize;
use std::collections::BTreeSet;

/// A way to freeze as things stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AtRest {
    /// The command.
    pub command: String,
    /// Whom it stops, of those that are not held.
    pub pids: BTreeSet<i32>,
    /// Nothing else speaks against a freeze.
    pub suffices: bool,
}

/// The way; none: nobody need be stopped, or it would not help.
pub fn of(survey: &Survey, selection: &Selection) -> Option<AtRest> {
    if survey.count(Membership::Gated) == 0 {
        return without_gate(survey, selection);
    }
    if survey.page_fault.is_some() {
        return None;
    }
    let can_be_held = |cause: Option<&Cause>| cause.is_some_and(Cause::can_be_held);
    let of_one = |finding: &&Finding| can_be_held(finding.known());
    let pids: BTreeSet<i32> =
        survey.against.iter().filter(of_one).filter_map(|finding| finding.pid).collect();
    (!pids.is_empty()).then(|| AtRest {
        command: format!("writegate freeze -g {} --hold-ungated -- COMMAND", survey.gate),
        pids,
        suffices: survey.against.iter().all(|finding| can_be_held(finding.known())),
    })
}

/// Nothing that was asked about is gated: it was never set up, or not started since.
fn without_gate(survey: &Survey, selection: &Selection) -> Option<AtRest> {
    let outside = survey.processes.iter().filter(|(_, of)| of.membership == Membership::NotGated);
    let pids: BTreeSet<i32> = outside.clone().map(|(process, _)| process.pid).collect();
    let units: BTreeSet<Option<&str>> = outside.map(|(process, _)| process.unit()).collect();
    let whom = match (selection, units.first()) {
        (Selection::Gate, _) | (_, None) => return None,
        (Selection::Tree(pid), _) => format!("--pid {pid}"),
        (Selection::Unit(_), Some(Some(unit))) if units.len() == 1 => format!("--unit {unit}"),
        (Selection::Unit(_), _) => {
            let tops = survey.processes.iter().map(|(process, _)| process);
            let tops = tops.filter(|process| !pids.contains(&process.parent));
            let each: Vec<_> = tops.map(|process| format!("--pid {}", process.pid)).collect();
            each.join(" ")
        }
    };
    let command = format!("writegate freeze {whom} --paths DIR:DIR -- COMMAND");
    Some(AtRest { command, pids, suffices: true })
}
