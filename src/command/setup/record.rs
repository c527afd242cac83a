//! What was done for one server: made, recorded, and undone to the byte.
//!
//! The record lies in `/var/lib/writegate/setup/NAME.json`: of each file what it was
//! before and what was made of it. Undoing restores the former if the latter is what is
//! still there; if somebody has edited the file since, only our own block is taken out
//! of it.

use super::plan::Change;
use super::site::Site;
use super::{block, diff};
use crate::outcome::fault::{CONFIG, Fault, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;

/// Where the records lie.
const RECORDS: &str = "/var/lib/writegate/setup";

/// What was done to one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ChangedFile {
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
    files: Vec<ChangedFile>,
    /// Directories that were made, outermost first.
    directories: Vec<String>,
    /// What must be run after it has been undone.
    #[serde(default)]
    then: Vec<String>,
}

/// One server's record at a site.
pub struct Record<'a> {
    site: &'a Site,
    server: String,
}

/// A file and the text that it will have again; none: it is removed.
pub type RestoredFile = (String, Option<String>);

impl<'a> Record<'a> {
    /// Of this server.
    pub fn new(site: &'a Site, server: &str) -> Record<'a> {
        Record { site, server: server.into() }
    }

    fn path(&self) -> String {
        format!("{RECORDS}/{}.json", self.server)
    }

    fn manifest(&self) -> Result<Option<Manifest>> {
        let Some(text) = self.site.read(&self.path())? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Fault::new(CONFIG, format!("{} is damaged: {e}", self.site.at(&self.path()).display()))
        })
    }

    /// The changes that are still to be made.
    pub fn missing(&self, changes: Vec<Change>) -> Result<Vec<Change>> {
        let mut left = Vec::new();
        let recorded = self.manifest()?.unwrap_or_default();
        for change in changes {
            let now = self.site.read(&change.path)?;
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
                        self.site.at(&change.path).display(),
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
            let now = self.site.read(&change.path)?;
            text += &diff::unified(&change.path, now.as_deref(), Some(&change.after));
        }
        Ok(text)
    }

    /// Makes the changes. The record is written first: whatever happens in between
    /// can be undone.
    pub fn install(&self, changes: &[Change], then_undo: &[String]) -> Result<()> {
        let mut manifest = self.manifest()?.unwrap_or_default();
        manifest.schema = 1;
        manifest.then = then_undo.to_vec();
        let record = self.path();
        for path in changes.iter().map(|c| c.path.as_str()).chain([record.as_str()]) {
            let made = self.site.directories_to_make(path);
            manifest.directories.extend(made);
        }
        manifest.directories.sort();
        manifest.directories.dedup();
        for change in changes {
            let now = self.site.read(&change.path)?;
            match manifest.files.iter_mut().find(|done| done.path == change.path) {
                Some(done) => done.after = change.after.clone(),
                None => manifest.files.push(ChangedFile {
                    path: change.path.clone(),
                    before: now,
                    after: change.after.clone(),
                    whole: change.whole,
                }),
            }
        }
        self.save(&manifest)?;
        for change in changes {
            self.site.write(&change.path, &change.after, 0o644)?;
        }
        Ok(())
    }

    fn save(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_string_pretty(manifest).unwrap_or_default() + "\n";
        self.site.write(&self.path(), &text, 0o600)
    }

    /// What must be run after it has been undone.
    pub fn commands_of_undoing(&self) -> Result<Vec<String>> {
        Ok(self.manifest()?.unwrap_or_default().then)
    }

    /// What undoing means: each file with the text it will have; None: removed.
    pub fn restored(&self) -> Result<Option<Vec<RestoredFile>>> {
        let Some(manifest) = self.manifest()? else { return Ok(None) };
        let mut files = Vec::new();
        for done in manifest.files.iter().rev() {
            let Some(now) = self.site.read(&done.path)? else { continue };
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
        for (path, text) in self.restored()?.unwrap_or_default() {
            let now = self.site.read(&path)?;
            match text {
                Some(text) if now.as_deref() == Some(&text) => kept.push(path),
                Some(text) => self.site.write(&path, &text, 0o644)?,
                None => self.site.delete(&path)?,
            }
        }
        let manifest = self.manifest()?.unwrap_or_default();
        self.site.delete(&self.path())?;
        let mut left = manifest.directories;
        left.sort();
        // Another may use one by now: only empty ones, the innermost first.
        let mut used = Vec::new();
        while let Some(directory) = left.pop() {
            let removed = fs::remove_dir(self.site.at(&directory));
            if removed.is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
                used.push(directory);
            }
        }
        self.bequeath(used)?;
        Ok(kept)
    }

    /// Directories that another server's set-up uses too are its to remove.
    fn bequeath(&self, directories: Vec<String>) -> Result<()> {
        let others = fs::read_dir(self.site.at(RECORDS)).into_iter().flatten();
        let Some(heir) =
            others.flatten().find(|e| e.path().extension().is_some_and(|x| x == "json"))
        else {
            return Ok(());
        };
        let heir = heir.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let heir = Record::new(self.site, &heir);
        if let Some(mut manifest) = heir.manifest()? {
            manifest.directories.extend(directories);
            manifest.directories.sort();
            manifest.directories.dedup();
            heir.save(&manifest)?;
        }
        Ok(())
    }
}
