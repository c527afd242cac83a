//! Where gates live, their names, and what is not safe there.

use crate::linux::helper::DEFAULT_DIR;
use crate::outcome::fault::{CONFIG, Fault, Result, USAGE};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The control page's name in a gate's directory.
pub const PAGE: &str = "control";
/// Longest name of a gate.
const NAME_MAX: usize = 64;
/// The permissions that only a file's owner may have here.
const OTHERS_WRITE: u32 = 0o022;

/// The directory of all gates.
pub fn root() -> PathBuf {
    std::env::var_os("WRITEGATE_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from)
}

/// Is this a name that a gate may have?
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') || !name.chars().all(good)
    {
        return Err(Fault::new(
            USAGE,
            format!(
                "`{name}` cannot be a gate's name: use letters, digits, - _ . @, at most {NAME_MAX}"
            ),
        ));
    }
    Ok(())
}

/// The names of all gates there are.
pub fn names() -> Vec<String> {
    let entries = fs::read_dir(root()).into_iter().flatten().flatten();
    let with_page = entries.filter(|e| e.path().join(PAGE).exists());
    let mut names: Vec<_> = with_page.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A file that is not used, and what to do about it.
pub fn not_safe(path: &Path, what: &str, cure: &str) -> Fault {
    Fault::new(CONFIG, format!("{} {what}; not used. {cure}", path.display()))
}

/// Is it root's or our own, and may no other user write it?
pub fn check_owner(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(not_safe(
            path,
            &format!("belongs to user {}, neither root nor you", meta.uid()),
            "The user that made it could hold up your server: remove it and restart the service.",
        ));
    }
    if meta.mode() & OTHERS_WRITE != 0 {
        return Err(not_safe(
            path,
            &format!("can be written by others (mode {:04o})", meta.mode() & 0o7777),
            &format!("Anyone could raise a barrier: `chmod go-w {}`.", path.display()),
        ));
    }
    Ok(())
}
