//! Values that several subcommands take from their arguments or the environment.

use super::users;
use crate::gatedir;
use crate::outcome::fault::{Fault, Result, USAGE};
use gate::profile::{self, UNGATED};
use std::path::PathBuf;

/// The gates named on the command line, else `$WRITEGATE_GATE`, else the only one there is. Of several
/// none is guessed.
pub fn gates(given: &[String]) -> Result<Vec<String>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let (meant, there) = (default_gate(), gatedir::names());
    if there.len() > 1 && !there.contains(&meant) {
        let there = there.join(", ");
        return Err(Fault::new(USAGE, format!("which gate? There are {there}: name one with -g")));
    }
    Ok(vec![meant])
}

/// The gate meant where none is named: the only one there is, else `default`.
pub fn default_gate() -> String {
    if let Some(named) = std::env::var("WRITEGATE_GATE").ok().filter(|name| !name.is_empty()) {
        return named;
    }
    match gatedir::names().as_slice() {
        [only] => only.clone(),
        _ => "default".into(),
    }
}

/// Protected directories from the command line or the environment.
pub fn protected_paths(given: Option<&str>) -> Result<Vec<PathBuf>> {
    let named = given.map(str::to_owned).or_else(|| std::env::var("WRITEGATE_PATHS").ok());
    let named = named.unwrap_or_default();
    let paths: Vec<PathBuf> =
        named.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect();
    match paths.iter().find(|p| !p.is_absolute()) {
        Some(path) => {
            Err(Fault::new(USAGE, format!("--paths: {} is not an absolute path", path.display())))
        }
        None => Ok(paths),
    }
}

/// A number of times, or a process's.
pub fn whole_number<T: std::str::FromStr>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|_| "not a whole number, such as 20".into())
}

/// A program by its path, which may be a pattern, as a `hold` line of the profile names it.
pub fn program(text: &str) -> std::result::Result<String, String> {
    let of_a_program = |text: &&str| *text != UNGATED && !text.contains(['\n', '#']);
    let checked =
        Some(text).filter(of_a_program).map(|text| profile::check(&format!("hold = {text}")));
    match checked {
        Some(Ok(())) => Ok(text.into()),
        _ => Err("not the path of a program, such as /usr/sbin/imapd or */imapd".into()),
    }
}

/// Users by name or number; None where none is named.
pub fn users(given: &[String]) -> Result<Option<Vec<u32>>> {
    let known = |name: &String| {
        name.parse()
            .ok()
            .or_else(|| users::number(name))
            .ok_or_else(|| Fault::new(USAGE, format!("--users: there is no user `{name}`")))
    };
    let ids: Result<Vec<u32>> = given.iter().map(known).collect();
    let ids = ids?;
    Ok((!ids.is_empty()).then_some(ids))
}
