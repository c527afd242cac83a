//! Where the library that is preloaded lies, and whether it may be put in front of a service.
//!
//! | module | duty |
//! |---|---|
//! | [`file`] | is this file a library that this machine and this command can work with? |
//! | [`trust`] | can anybody but its owner change it, and can a service's user read it? |
//! | [`trial`] | does a program start under it? |
//!
//! One look-up serves every layout: a checkout (`target/release`), a tarball (`bin` and `lib`),
//! Debian's multiarch directories, `/usr/lib64`, `/usr/local`, and a command that was put
//! somewhere else alone.

mod file;
pub mod trial;
pub mod trust;

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

/// The file's name, everywhere.
pub const NAME: &str = "libwritegate.so";

/// Where it lies relative to the command's directory.
const BESIDE: [&str; 4] = [".", "../lib64", "../lib", "../lib/writegate"];
/// Where it lies below a root directory. The first are standard directories of the loader, which
/// alone serve set-user-ID programs.
const INSTALLED: [&str; 5] =
    ["usr/lib64", "usr/lib", "usr/local/lib64", "usr/local/lib", "opt/writegate/lib"];

/// Everywhere it is looked for, in this order.
fn places(root: &Path) -> Vec<PathBuf> {
    let multiarch = format!("{ARCH}-linux-gnu");
    let mut places = Vec::new();
    if root == Path::new("/")
        && let Some(bin) = command().as_deref().and_then(Path::parent)
    {
        // The multiarch directory goes before what others may have put into `lib`.
        places.push(bin.join(BESIDE[0]).join(NAME));
        places.push(bin.join("../lib").join(&multiarch).join(NAME));
        places.extend(BESIDE[1..].iter().map(|dir| bin.join(dir).join(NAME)));
    }
    places.push(root.join("usr/lib").join(&multiarch).join(NAME));
    places.extend(INSTALLED.iter().map(|dir| root.join(dir).join(NAME)));
    places
}

/// This very command's file.
pub fn command() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    // An upgrade has replaced it while it runs: the name is what counts.
    let name = exe.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").map_or(exe.clone(), PathBuf::from))
}

/// The library for this machine: as given, or found. One that cannot work is refused.
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    let found = match given {
        Some(path) => path.canonicalize().map_err(|e| not_there(path, &e))?,
        None => installed(Path::new("/"))?,
    };
    usable(&found)?;
    Ok(found)
}

/// The library of a system below a root directory.
pub struct Below {
    /// Its path, as that system will see it.
    pub path: String,
    /// What must be done before a server can load it.
    pub to_do: Option<String>,
}

/// The library of the system below a root directory. One that is named, and that only this machine has,
/// may be what a container is given later: taken, and said.
pub fn find_below(root: &Path, given: Option<&str>) -> Result<Below> {
    let Some(path) = given else {
        let found = installed(root)?;
        usable(&found)?;
        trust::check(root, &found)?;
        return Ok(Below { path: seen_from(root, &found), to_do: None });
    };
    let there = root.join(path.trim_start_matches('/'));
    let missing = there.metadata().err();
    if let Some(error) = missing {
        // Below `/` both are the same file.
        let here = Path::new(path);
        if !here.exists() {
            return Err(not_there(&there, &error));
        }
        usable(here)?;
        let to_do = format!(
            "{} is not there yet: nothing is gated until it is. Install it there, root's and mode 644 \
             (this machine has one at {path})",
            there.display()
        );
        return Ok(Below { path: path.into(), to_do: Some(to_do) });
    }
    usable(&there)?;
    trust::check(root, &there)?;
    Ok(Below { path: path.into(), to_do: None })
}

/// A path below a root, as it is seen from there.
fn seen_from(root: &Path, path: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.into());
    let inside = path.strip_prefix(&root).unwrap_or(path);
    Path::new("/").join(inside).display().to_string()
}

fn installed(root: &Path) -> Result<PathBuf> {
    let places = places(root);
    let found = places.iter().find_map(|place| place.canonicalize().ok());
    found.ok_or_else(|| {
        let dirs = places.iter().filter_map(|place| place.parent());
        let mut dirs: Vec<String> = dirs.map(plain).collect();
        dirs.dedup();
        Fault::new(
            CONFIG,
            format!(
                "there is no {NAME} in {}. Install it (the package writegate brings it), or name its \
                 place: --library FILE",
                dirs.join(", ")
            ),
        )
    })
}

/// `/usr/bin/../lib` is `/usr/lib` to a reader; what is not there stays as it is.
fn plain(path: &Path) -> String {
    let mut parts: Vec<_> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(parts.pop()),
            std::path::Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts.iter().collect::<PathBuf>().display().to_string()
}

fn not_there(path: &Path, error: &std::io::Error) -> Fault {
    let found = installed(Path::new("/"));
    let hint = match &found {
        Ok(found) => format!("; there is one at {}", found.display()),
        Err(_) => String::new(),
    };
    Fault::new(CONFIG, format!("--library: {}: {error}{hint}", path.display()))
}

fn usable(path: &Path) -> Result<()> {
    // Commas: Postfix splits there.
    if path.to_string_lossy().contains([' ', ':', ',', '\t', '\n']) {
        return Err(Fault::new(
            CONFIG,
            format!(
                "{}: the loader splits LD_PRELOAD at blanks and colons: put the library at a path \
                 without them",
                path.display()
            ),
        ));
    }
    match file::defect(path) {
        None => Ok(()),
        Some(what) => Err(Fault::new(CONFIG, format!("{} {what}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_looked_for() {
        let root = places(Path::new("/srv/image"));
        assert!(root.iter().all(|place| place.starts_with("/srv/image")), "{root:?}");
        let here: Vec<_> =
            places(Path::new("/")).iter().map(|p| plain(p.parent().unwrap())).collect();
        for dir in ["/usr/lib64", "/usr/local/lib", &format!("/usr/lib/{ARCH}-linux-gnu")] {
            assert!(here.iter().any(|place| place == dir), "{dir}");
        }
        assert_eq!(plain(Path::new("/usr/bin/../lib/./x")), "/usr/lib/x");
    }
}
