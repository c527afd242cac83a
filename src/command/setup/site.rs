//! The root directory that is set up: its files read, and written in one step.

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A root directory.
#[derive(Clone)]
pub struct Site {
    root: PathBuf,
}

impl Site {
    /// The system below this directory.
    pub fn new(root: &Path) -> Site {
        Site { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This machine's own: its programs may be asked.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a path of the set-up lies for us.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text; None: not there.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        match fs::read_to_string(self.at(path)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::io(format!("cannot read {}", self.at(path).display()), &e)),
        }
    }

    /// Is one of these files there?
    pub fn has_any(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.at(path).exists())
    }

    /// Is this directory there?
    pub fn has_directory(&self, path: &str) -> bool {
        // A link below another root means something else than it does to us.
        let at = self.at(path);
        at.is_dir() || !self.is_this_machine() && at.is_symlink()
    }

    /// Is it started by systemd? Where nothing says so, yes: almost every system is.
    pub fn has_systemd(&self) -> bool {
        let systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
        self.has_any(&systemd) || !self.has_any(&["/etc/init.d"])
    }

    /// Removes a file.
    pub fn delete(&self, path: &str) -> Result<()> {
        fs::remove_file(self.at(path))
            .map_err(|e| Fault::io(format!("cannot remove {}", self.at(path).display()), &e))
    }

    /// Directories that must be made before this path can be.
    pub fn directories_to_make(&self, path: &str) -> Vec<String> {
        Path::new(path)
            .ancestors()
            .skip(1)
            .take_while(|dir| !self.at(&dir.to_string_lossy()).exists())
            .map(|dir| dir.to_string_lossy().into_owned())
            .collect()
    }

    /// Writes a file in one step, with the owner and mode that it had.
    pub fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let named = self.at(path);
        let failed = |e: io::Error| Fault::io(format!("cannot write {}", named.display()), &e);
        if let Some(parent) = named.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        // A link stays a link: what it names is changed.
        let target = named.canonicalize().unwrap_or_else(|_| named.clone());
        // Below another root an absolute link means something else than it does to us.
        let root = self.root.canonicalize().map_err(failed)?;
        if named.exists() && !target.starts_with(&root) {
            return Err(Fault::new(
                CONFIG,
                format!("{} is a link that leads out of {}", named.display(), root.display()),
            ));
        }
        let beside = target.with_extension(format!("writegate-{}", std::process::id()));
        let old = fs::metadata(&target).ok();
        let made = (|| {
            fs::write(&beside, text)?;
            let mode = old.as_ref().map_or(mode, |meta| meta.mode() & 0o7777);
            fs::set_permissions(&beside, fs::Permissions::from_mode(mode))?;
            if let Some(meta) = &old {
                std::os::unix::fs::chown(&beside, Some(meta.uid()), Some(meta.gid()))?;
            }
            fs::File::open(&beside)?.sync_all()?;
            fs::rename(&beside, &target)
        })();
        made.inspect_err(|_| drop(fs::remove_file(&beside))).map_err(failed)
    }
}
