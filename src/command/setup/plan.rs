//! What is to be changed on disk: shown, done, recorded, and undone to the byte.
//!
//! The record lies in `/var/lib/writegate/setup/NAME`: a manifest, and of each file
//! what it was before and what was made of it. Undoing restores the former if the
//! latter is what is still there; if somebody has edited the file since, only our own
//! block is taken out of it.

use super::{block, diff};
use crate::outcome::fault::{CONFIG, Fault, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// One file as it is to be.
#[derive(Clone, Debug)]
pub struct Change {
    /// Absolute, as seen from the root directory that is set up.
    pub path: String,
    /// Its new text.
    pub after: String,
    /// We own the whole file; else only a block in it.
    pub whole: bool,
}

/// What was done to one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Done {
    path: String,
    /// None: it was not there.
    before: Option<String>,
    after: String,
    whole: bool,
}

/// All that was done for one server.
#[derive(Default, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    files: Vec<Done>,
    /// Directories that were made, outermost first.
    directories: Vec<String>,
}

/// The root directory that is set up, and one server's record in it.
pub struct Site {
    root: PathBuf,
    server: String,
}

/// A file and the text that it will have again; none: it is removed.
pub type Undone = (String, Option<String>);

impl Site {
    /// A server below a root directory.
    pub fn new(root: &Path, server: &str) -> Site {
        Site { root: root.into(), server: server.into() }
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

    fn record(&self) -> String {
        format!("/var/lib/writegate/setup/{}.json", self.server)
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        let Some(text) = self.read(&self.record())? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Fault::new(CONFIG, format!("{} is damaged: {e}", self.at(&self.record()).display()))
        })
    }

    /// The changes that are still to be made.
    pub fn missing(&self, changes: Vec<Change>) -> Result<Vec<Change>> {
        let mut left = Vec::new();
        let recorded = self.manifest()?.unwrap_or_default();
        for change in changes {
            let now = self.read(&change.path)?;
            if now.as_deref() == Some(&change.after) {
                continue;
            }
            let ours = recorded.files.iter().find(|done| done.path == change.path);
            let untouched = ours.is_some_and(|done| now.as_deref() == Some(&done.after));
            if change.whole && now.is_some() && !untouched {
                return Err(Fault::new(
                    CONFIG,
                    format!(
                        "{} is there already and is not what this command wrote: not overwritten. \
                         Remove it, or put this into it yourself:\n{}",
                        self.at(&change.path).display(),
                        change.after.trim_end()
                    ),
                ));
            }
            left.push(change);
        }
        Ok(left)
    }

    /// The changes as a diff.
    pub fn diff(&self, changes: &[Change]) -> Result<String> {
        let mut text = String::new();
        for change in changes {
            let now = self.read(&change.path)?;
            text += &diff::unified(&change.path, now.as_deref(), Some(&change.after));
        }
        Ok(text)
    }

    /// Makes the changes. The record is written first: whatever happens in between
    /// can be undone.
    pub fn install(&self, changes: &[Change]) -> Result<()> {
        let mut manifest = self.manifest()?.unwrap_or_default();
        manifest.schema = 1;
        let record = self.record();
        for path in changes.iter().map(|c| c.path.as_str()).chain([record.as_str()]) {
            let made = self.directories_to_make(path);
            manifest.directories.extend(made);
        }
        manifest.directories.sort();
        manifest.directories.dedup();
        for change in changes {
            let now = self.read(&change.path)?;
            match manifest.files.iter_mut().find(|done| done.path == change.path) {
                Some(done) => done.after = change.after.clone(),
                None => manifest.files.push(Done {
                    path: change.path.clone(),
                    before: now,
                    after: change.after.clone(),
                    whole: change.whole,
                }),
            }
        }
        self.keep(&manifest)?;
        for change in changes {
            self.write(&change.path, &change.after, 0o644)?;
        }
        Ok(())
    }

    fn keep(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_string_pretty(manifest).unwrap_or_default() + "\n";
        self.write(&self.record(), &text, 0o600)
    }

    /// What undoing means: each file with the text it will have; None: removed.
    pub fn undone(&self) -> Result<Option<Vec<Undone>>> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        let mut files = Vec::new();
        for done in manifest.files.iter().rev() {
            let Some(now) = self.read(&done.path)? else { continue };
            let then = if now == done.after {
                done.before.clone()
            } else if done.whole
                || block::find(&now, &self.server) != block::find(&done.after, &self.server)
            {
                // Edited since: no longer ours to remove.
                Some(now)
            } else {
                let cut = block::cut(&now, &self.server);
                (!cut.is_empty() || done.before.as_deref() == Some("")).then_some(cut)
            };
            files.push((done.path.clone(), then));
        }
        Ok(Some(files))
    }

    /// Undoes it. What was kept, because somebody has edited it since, is returned.
    pub fn remove(&self) -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for (path, text) in self.undone()?.unwrap_or_default() {
            let now = self.read(&path)?;
            match text {
                Some(text) if now.as_deref() == Some(&text) => kept.push(path),
                Some(text) => self.write(&path, &text, 0o644)?,
                None => self.delete(&path)?,
            }
        }
        let manifest = self.manifest()?.unwrap_or_default();
        self.delete(&self.record())?;
        let mut left = manifest.directories;
        left.sort();
        // Somebody else may use one by now: only empty ones, the innermost first.
        let mut used = Vec::new();
        while let Some(directory) = left.pop() {
            let removed = fs::remove_dir(self.at(&directory));
            if removed.is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
                used.push(directory);
            }
        }
        self.bequeath(used)?;
        Ok(kept)
    }

    /// Directories that another server's set-up uses too are that one's to remove.
    fn bequeath(&self, directories: Vec<String>) -> Result<()> {
        let records = Path::new("/var/lib/writegate/setup");
        let others = fs::read_dir(self.at(&records.to_string_lossy())).into_iter().flatten();
        let Some(heir) =
            others.flatten().find(|e| e.path().extension().is_some_and(|x| x == "json"))
        else {
            return Ok(());
        };
        let heir = Site {
            root: self.root.clone(),
            server: heir.path().file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        if let Some(mut manifest) = heir.manifest()? {
            manifest.directories.extend(directories);
            manifest.directories.sort();
            manifest.directories.dedup();
            heir.keep(&manifest)?;
        }
        Ok(())
    }

    fn delete(&self, path: &str) -> Result<()> {
        fs::remove_file(self.at(path))
            .map_err(|e| Fault::io(format!("cannot remove {}", self.at(path).display()), &e))
    }

    fn directories_to_make(&self, path: &str) -> Vec<String> {
        Path::new(path)
            .ancestors()
            .skip(1)
            .take_while(|dir| !self.at(&dir.to_string_lossy()).exists())
            .map(|dir| dir.to_string_lossy().into_owned())
            .collect()
    }

    /// Writes a file in one step, with the owner and mode that it had.
    fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
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
