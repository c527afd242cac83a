//! Opens a gate.

use super::dir::{PAGE, check_name, check_owner, is_foreign, names, not_safe, root};
use super::lock::FreezeLock;
use super::page::{self, MappedPage};
use crate::linux::marks::Marks;
use crate::linux::user_namespaces::{IdMap, with_root};
use crate::outcome::fault::{Fault, NO_PROCESS, PERMISSION, Result};
use gate::control::SIZE;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// One gate, opened.
#[derive(Debug)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its control page.
    pub page: Arc<MappedPage>,
    /// Who maps it, as far as they have marked that.
    pub marks: Arc<Marks>,
    lock: Option<FreezeLock>,
    /// Device and inode of the page's file.
    file: (u64, u64),
    owner: u32,
    ids: IdMap,
}

impl Gate {
    /// Opens a gate to freeze it.
    pub fn open(name: &str) -> Result<Gate> {
        Gate::open_as(name, true)
    }

    /// Opens a gate to look at it only.
    pub fn open_to_read(name: &str) -> Result<Gate> {
        Gate::open_as(name, false)
    }

    fn open_as(name: &str, writable: bool) -> Result<Gate> {
        check_name(name)?;
        let dir = root().join(name);
        for part in [root(), dir.clone()] {
            let meta = fs::metadata(&part).map_err(|e| missing(name, &part, &e))?;
            if !meta.is_dir() {
                return Err(not_safe(&part, "is not a directory", "Remove it."));
            }
            check_owner(&part, &meta)?;
        }
        let path = dir.join(PAGE);
        let file = OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(|e| missing(name, &path, &e))?;
        let meta = file.metadata().map_err(|e| Fault::io(path.display(), &e))?;
        if !meta.is_file() {
            return Err(not_safe(&path, "is not a regular file", "Remove it."));
        }
        check_owner(&path, &meta)?;
        if meta.len() != SIZE as u64 {
            return Err(not_safe(
                &path,
                &format!("has {} bytes instead of {SIZE}", meta.len()),
                "It was truncated, or another version made it: remove it and restart the service.",
            ));
        }
        let page = MappedPage::map(&file, &path, writable)?;
        let page = Arc::new(page);
        let in_namespace = is_foreign(meta.uid()).then(|| with_root(meta.uid())).flatten();
        let ids = in_namespace.unwrap_or_default();
        let marks = Arc::new(Marks::of(file, page.get().made_in.load(Relaxed)));
        Ok(Gate {
            name: name.into(),
            dir,
            page,
            marks,
            lock: None,
            file: (meta.dev(), meta.ino()),
            owner: meta.uid(),
            ids,
        })
    }

    /// Opens a gate, making it first if it is not there.
    pub fn open_or_create(name: &str, profile: &str) -> Result<Gate> {
        check_name(name)?;
        let dir = root().join(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&dir)
            .map_err(|e| page::not_made(&dir, &e))?;
        if let Err(e) = fs::symlink_metadata(dir.join(PAGE))
            && e.kind() == io::ErrorKind::NotFound
        {
            page::create(&dir, profile)?;
        }
        Gate::open_as(name, false)
    }

    /// Takes the freeze lock; waits for another freezer at most `wait_ns`.
    pub fn lock(&mut self, wait_ns: u64, interrupted: impl FnMut() -> bool) -> Result<()> {
        self.lock = Some(FreezeLock::take(&self.name, &self.dir, wait_ns, interrupted)?);
        Ok(())
    }

    /// The user that made the page.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Who is who in the user namespace whose root that is; empty: it is none's.
    pub fn ids(&self) -> &IdMap {
        &self.ids
    }

    /// Where its control page lies.
    pub fn page_path(&self) -> PathBuf {
        self.dir.join(PAGE)
    }

    /// Does another page (or none) stand under the name by now?
    pub fn was_replaced(&self) -> bool {
        fs::symlink_metadata(self.page_path())
            .map_or(true, |meta| (meta.dev(), meta.ino()) != self.file)
    }

    /// Does another freezer hold the lock now? Without rights to look: None.
    pub fn is_locked(&self) -> Option<bool> {
        FreezeLock::is_taken(&self.dir)
    }
}

impl Gate {
    /// Why a freeze of it would be refused, seen by who has opened it to look only: it must be written.
    pub fn cannot_be_written(&self) -> Option<Fault> {
        let path = self.dir.join(PAGE);
        let error = OpenOptions::new().write(true).open(&path).err()?;
        let read_only = error.raw_os_error() == Some(libc::EROFS);
        read_only.then(|| missing(&self.name, &path, &error))
    }
}

fn missing(name: &str, path: &Path, error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            let known = names();
            let known = match known.is_empty() {
                true => "none".into(),
                false => format!("{} (-g names one)", known.join(", ")),
            };
            Fault::new(
                NO_PROCESS,
                format!(
                    "gate {name}: {} does not exist, so no service was started under it. \
                     Gates in {}: {known}. Put the library in front of the service \
                     (`writegate setup SERVER --install --apply`), or start a program by \
                     `writegate exec -g {name} -- PROGRAM`; WRITEGATE_DIR names another directory",
                    path.display(),
                    root().display()
                ),
            )
        }
        Some(libc::EACCES | libc::EPERM) => Fault::new(
            PERMISSION,
            format!(
                "gate {name}: {}: {error}; only its owner may freeze (try root)",
                path.display()
            ),
        ),
        Some(libc::ELOOP) => not_safe(path, "is a symbolic link", "Remove it."),
        Some(libc::EROFS) => Fault::new(
            PERMISSION,
            format!(
                "gate {name}: {} lies on a read-only file system; the freezer must write there: \
                 `mount -o remount,rw` that file system, or freeze outside of this container",
                path.display()
            ),
        ),
        _ => Fault::io(format!("gate {name}: {}", path.display()), error),
    }
}
