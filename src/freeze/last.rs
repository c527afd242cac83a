//! What became of a freeze that another command thaws, for a thaw that comes late, or twice:
//! `NAME/last`.

use crate::freeze::token::Token;
use crate::linux::replace::{PRIVATE, replace};
use crate::outcome::record::Record;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What is left of a freeze for a thaw that comes late.
#[derive(Serialize, Deserialize)]
pub struct Last {
    /// Its token.
    pub token: String,
    /// What became of it.
    pub record: Record,
    /// A thaw has had it.
    pub told: bool,
}

/// Where the last record of a gate lies.
pub fn path(gate_dir: &Path) -> PathBuf {
    gate_dir.join("last")
}

/// Leaves word for a thaw to come.
pub fn write(dir: &Path, last: &Last) {
    let text = serde_json::to_vec(last).unwrap_or_default();
    // The token in it may still be good.
    let _ = replace(&path(dir), &text, PRIVATE);
}

/// What the keeper of this token left, if it did.
pub fn read(dir: &Path, token: &Token) -> Option<Last> {
    let text = fs::read_to_string(path(dir)).ok()?;
    let last: Last = serde_json::from_str(&text).ok()?;
    (last.token == token.to_string()).then_some(last)
}
