//! Which directories are protected, found out before anything is held: published, or the freeze is
//! refused.

use crate::drive::session::Session;
use crate::outcome::fault::Result;
use crate::places::Places;
use std::path::PathBuf;

/// Finds and publishes the places of every gate.
pub fn publish(session: &mut Session, by_freezer: &[PathBuf]) -> Result<Vec<Places>> {
    let mut all = Vec::new();
    let Session { gates, census, helper, signals, .. } = session;
    let stop = || signals.received().is_some();
    for (at, gate) in gates.iter().enumerate() {
        let page = gate.page.get();
        let named = (by_freezer, page.profile_text());
        let places = Places::find(census, at, helper, named, &stop);
        if let Some(fault) = places.refusal(&gate.name) {
            return Err(fault);
        }
        places.publish(page);
        all.push(places);
    }
    Ok(all)
}
