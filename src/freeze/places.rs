//! Which directories are protected, found out before anything is held: published, or the freeze is
//! refused.

use crate::drive::session::Session;
use crate::outcome::fault::{CONFIG, Fault, Result};
use crate::places::named::NamedBy;
use crate::places::{Missing, Places};
use std::path::PathBuf;

/// So many names are told.
const NAMED: usize = 5;

/// Finds and publishes the places of every gate.
pub fn publish(session: &mut Session, by_freezer: &[PathBuf]) -> Result<()> {
    let Session { gates, census, helper, .. } = session;
    for (at, gate) in gates.iter().enumerate() {
        let page = gate.page.get();
        let places = Places::find(census, at, helper, by_freezer, page.profile_text());
        refuse_missing(&gate.name, &places)?;
        places.publish(page);
    }
    Ok(())
}

/// A directory that is not there may be a slip of the pen, or a mount that failed: the snapshot
/// would be of nothing. What only a user's process names may not keep root from a snapshot.
fn refuse_missing(gate: &str, places: &Places) -> Result<()> {
    let by_user = |missing: &&Missing| matches!(missing.by, NamedBy::UserProcess(_));
    let missing: Vec<String> = places
        .missing
        .iter()
        .filter(|missing| !by_user(missing))
        .take(NAMED)
        .map(|missing| format!("{} ({}): {}", missing.path, missing.by, missing.why))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Fault::new(
        CONFIG,
        format!(
            "gate {gate}: named as protected and not there: {}; mend the name, or mount what belongs \
             there. Nothing was held",
            missing.join("; ")
        ),
    ))
}
