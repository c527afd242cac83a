//! Where gates live, their names, and what is not safe there.

use crate::linux::helper::DEFAULT_DIR;
use crate::linux::user_namespaces;
use crate::outcome::fault::{CONFIG, Fault, Result, USAGE};
use gate::name::{NAME_MAX, is_name};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The control page's name in a gate's directory.
pub const PAGE: &str = "control";
/// The permissions that only a file's owner may have here.
const OTHERS_WRITE: u32 = 0o022;

/// The directory of all gates.
pub fn root() -> PathBuf {
    std::env::var_os("WRITEGATE_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from)
}

/// The same name must mean the same directory in every process.
pub fn check_root() -> Result<()> {
    let root = root();
    match root.is_absolute() {
        true => Ok(()),
        false => Err(Fault::new(
            USAGE,
            format!(
                "WRITEGATE_DIR={}: not an absolute path, and that is what it must be",
                root.display()
            ),
        )),
    }
}

/// Is this a name that a gate may have?
pub fn check_name(name: &str) -> Result<()> {
    if !is_name(name.as_bytes()) {
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
    let name = |e: fs::DirEntry| e.file_name().into_string().ok();
    let mut names: Vec<_> =
        with_page.filter_map(name).filter(|name| is_name(name.as_bytes())).collect();
    names.sort();
    names
}

/// A file that is not used, and what to do about it.
pub fn not_safe(path: &Path, what: &str, cure: &str) -> Fault {
    Fault::new(CONFIG, format!("{} {what}; not used. {cure}", path.display()))
}

/// Is this user neither root nor who runs this command?
pub fn is_foreign(user: u32) -> bool {
    user != 0 && user != nix::unistd::geteuid().as_raw()
}

fn foreign(path: &Path, user: u32) -> Fault {
    if user == user_namespaces::NOBODY && user_namespaces::leaves_out_users() {
        return not_safe(
            path,
            "belongs to a user that this container's user namespace does not know (the host's root?)",
            "Freeze on the host; or give the container a directory of its own for its gate, \
             where its root makes the page.",
        );
    }
    not_safe(
        path,
        &format!(
            "belongs to user {user}, neither root nor you, nor root of a user namespace in which \
             anything runs"
        ),
        "The user that made it could hold up your server: remove it and restart the service.",
    )
}

/// Is it root's or our own, or that of the root of a container with a user namespace; and may no other
/// user write it? The processes of such a container are all that believe its page.
pub fn check_owner(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if is_foreign(meta.uid()) && user_namespaces::with_root(meta.uid()).is_none() {
        return Err(foreign(path, meta.uid()));
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
