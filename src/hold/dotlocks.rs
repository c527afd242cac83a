//! Locks that are only files (`lock-file` lines that name a directory): while one is there its maker's
//! set of writes is open.
//!
//! The kernel knows no holder of it, so it is looked for when all are at rest, by the freezer: a
//! directory may lie on a disk that hangs, and the tracer waits for none. A `*` stands for a part of
//! one name here.

use crate::foreign_text::ForeignText;
use gate::profile::{self, Key};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One that is there now; none: there is none. `accounted`: those whose makers' own words tell.
pub fn first(profile: &str, accounted: &[ForeignText]) -> Option<PathBuf> {
    let counts = |path: &Path| !accounted.contains(&ForeignText::of_path(path));
    profile::values(profile, Key::LockFile).filter(|pattern| pattern.starts_with('/')).find_map(
        |pattern| {
            let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
            below(Path::new("/"), &parts, &counts)
        },
    )
}

/// The process that it names, as most do.
pub fn owner(lock: &Path) -> Option<i32> {
    let text = fs::read(lock).ok()?;
    let text = String::from_utf8_lossy(text.get(..text.len().min(32))?).into_owned();
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn below(dir: &Path, parts: &[&str], counts: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let (part, rest) = parts.split_first()?;
    if !part.contains(['*', '?']) {
        return reached(dir.join(part), rest, counts);
    }
    let entries = fs::read_dir(dir).ok()?.flatten();
    let fits = |name: &OsStr| profile::glob(part.as_bytes(), name.as_bytes());
    entries
        .filter(|entry| fits(&entry.file_name()))
        .find_map(|entry| reached(entry.path(), rest, counts))
}

fn reached(path: PathBuf, rest: &[&str], counts: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    match rest {
        [] => (path.symlink_metadata().is_ok() && counts(&path)).then_some(path),
        _ => below(&path, rest, counts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_found_by_its_pattern_and_names_its_owner() {
        let dir =
            std::env::temp_dir().join(format!("writegate-test-dotlock-{}", std::process::id()));
        fs::create_dir_all(dir.join("anna")).unwrap();
        let profile = format!("lock-file = {}/*/box.lock", dir.display());
        assert_eq!(first(&profile, &[]), None);
        let lock = dir.join("anna/box.lock");
        fs::write(&lock, "4711 host\n").unwrap();
        assert_eq!(first(&profile, &[]), Some(lock.clone()));
        assert_eq!(first(&profile, &[ForeignText::of_path(&lock)]), None);
        assert_eq!(owner(&lock), Some(4711));
        assert_eq!(first("lock-file = *.lock", &[]), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
