//! Where the library that is preloaded lies on this machine.

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::path::PathBuf;

/// As given, beside this program, or in `../lib`.
pub fn find(given: Option<PathBuf>) -> Result<PathBuf> {
    let name = "libwritegate.so";
    let mut places: Vec<PathBuf> = given.iter().cloned().collect();
    if given.is_none() {
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
        if let Some(dir) = beside {
            places.push(dir.join(name));
            places.push(dir.join("../lib").join(name));
            places.push(dir.join("../lib/writegate").join(name));
        }
    }
    let found = places.iter().find_map(|place| place.canonicalize().ok());
    found.ok_or_else(|| {
        let tried: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
        Fault::new(CONFIG, format!("no {name} at {}; --library names its place", tried.join(", ")))
    })
}
