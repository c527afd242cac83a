//! A gate's directory: `NAME/control` (the control page) and `NAME/lock`.
//!
//! Each fault has its own message, because at 3 a.m. "cannot open gate" helps
//! nobody. A page that is not ours to trust is never mapped.

pub mod in_force;
pub mod other_layout;
pub mod stats;

use crate::linux::sys::{self, Mapping};
use crate::outcome::fault::{CONFIG, Fault, NOBODY, NOT_DRAINED, PERMISSION, Result, USAGE};
use gate::check::BadPage;
use gate::control::{ControlPage, MAGIC, PROFILE_MAX, SIZE};
use gate::layout::LAYOUT;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where gates live without `$WRITEGATE_DIR`.
pub const DEFAULT_DIR: &str = "/run/writegate";

/// The directory of all gates.
pub fn root() -> PathBuf {
    std::env::var_os("WRITEGATE_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from)
}

/// Is this a name that a gate may have?
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(good) {
        return Err(Fault::new(
            USAGE,
            format!("`{name}` cannot be a gate's name: use letters, digits, - _ . @, at most 64"),
        ));
    }
    Ok(())
}

/// The names of all gates there are.
pub fn names() -> Vec<String> {
    let entries = fs::read_dir(root()).into_iter().flatten().flatten();
    let with_page = entries.filter(|e| e.path().join("control").exists());
    let mut names: Vec<_> = with_page.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// This boot's id, as the page carries it.
pub fn boot_id() -> Result<[u8; 16]> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(|e| Fault::io(path, &e))?;
    let digits: Vec<u8> =
        text.bytes().filter_map(|c| (c as char).to_digit(16).map(|d| d as u8)).collect();
    let mut id = [0; 16];
    if digits.len() != 32 {
        return Err(Fault::new(CONFIG, format!("{path} does not hold a boot id: is /proc whole?")));
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = digits[at * 2] << 4 | digits[at * 2 + 1];
    }
    Ok(id)
}

/// A mapped control page.
#[derive(Debug)]
pub struct Page(Mapping);

impl Page {
    /// The page.
    pub fn get(&self) -> &ControlPage {
        self.0.foreign().at(0).expect("a mapping of SIZE bytes holds a page")
    }

    /// Where it is mapped, to find it in `/proc/self/maps`.
    pub fn address(&self) -> u64 {
        self.0.start() as u64
    }
}

/// One gate, opened.
#[derive(Debug)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its control page.
    pub page: Page,
    lock: Option<File>,
    file: (u64, u64),
}

fn not_safe(path: &Path, what: &str, cure: &str) -> Fault {
    Fault::new(CONFIG, format!("{} {what}; not used. {cure}", path.display()))
}

/// Root's or our own, and nobody else may write it?
fn check_owner(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if meta.uid() != 0 && meta.uid() != sys::euid() {
        return Err(not_safe(
            path,
            &format!("belongs to user {}, neither root nor you", meta.uid()),
            "Whoever made it could hold up your server: remove it and restart the service.",
        ));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(not_safe(
            path,
            &format!("can be written by others (mode {:04o})", meta.mode() & 0o7777),
            &format!("Anyone could raise a barrier: `chmod go-w {}`.", path.display()),
        ));
    }
    Ok(())
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
        let path = dir.join("control");
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
        let fd = file.as_raw_fd();
        let mapping = match writable {
            true => Mapping::new(fd, SIZE, true),
            false => Mapping::to_look_at(fd, SIZE),
        };
        let mapping = mapping.map_err(|e| Fault::io(path.display(), &e))?;
        let page = Page(mapping);
        page.get().check(&boot_id()?).map_err(|bad| match bad {
            BadPage::Magic => not_safe(&path, "is not a control page", "Remove it."),
            BadPage::Layout(layout) => other_layout::fault(&path, layout),
            BadPage::Boot => not_safe(
                &path,
                "was made in another boot of this machine",
                "Its directory should be on a tmpfs. Remove it and restart the service.",
            ),
        })?;
        Ok(Gate { name: name.into(), dir, page, lock: None, file: (meta.dev(), meta.ino()) })
    }

    /// Opens a gate, making it first if it is not there.
    pub fn open_or_create(name: &str, profile: &str) -> Result<Gate> {
        check_name(name)?;
        let dir = root().join(name);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir).map_err(|e| {
            let mut fault = Fault::io(format!("cannot make {}", dir.display()), &e);
            fault.message += "; a user without root sets WRITEGATE_DIR to a directory of his own";
            fault
        })?;
        if let Err(e) = fs::symlink_metadata(dir.join("control"))
            && e.kind() == io::ErrorKind::NotFound
        {
            create_page(&dir, profile)?;
        }
        Gate::open_as(name, false)
    }

    /// Takes the freeze lock; waits for another freezer at most `wait_ns`.
    pub fn lock(&mut self, wait_ns: u64, mut interrupted: impl FnMut() -> bool) -> Result<()> {
        let path = self.dir.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(|e| Fault::io(format!("cannot open {}", path.display()), &e))?;
        let meta = file.metadata().map_err(|e| Fault::io(path.display(), &e))?;
        check_owner(&path, &meta)?;
        let until = sys::now_ns().saturating_add(wait_ns);
        while !sys::try_lock(file.as_raw_fd()).map_err(|e| Fault::io(path.display(), &e))? {
            if interrupted() {
                return Err(Fault::new(NOT_DRAINED, "interrupted while another freeze ran"));
            }
            if sys::now_ns() >= until {
                let what = format!(
                    "gate {}: another freeze has held it for all of --queue; \
                     `writegate status -g {}` shows it. Nothing was held by this one",
                    self.name, self.name
                );
                let busy = Some(crate::outcome::verdict::Verdict::Busy);
                return Err(Fault { verdict: busy, ..Fault::new(NOT_DRAINED, what) });
            }
            sys::sleep_ns(2_000_000);
        }
        self.lock = Some(file);
        Ok(())
    }

    /// Does another page (or none) stand under the name by now?
    pub fn was_replaced(&self) -> bool {
        fs::symlink_metadata(self.dir.join("control"))
            .map_or(true, |meta| (meta.dev(), meta.ino()) != self.file)
    }

    /// Does another freezer hold the lock now? Without rights to look: None.
    pub fn is_locked(&self) -> Option<bool> {
        let file = OpenOptions::new().read(true).open(self.dir.join("lock")).ok()?;
        sys::try_lock(file.as_raw_fd()).ok().map(|got| !got)
    }
}

fn missing(name: &str, path: &Path, error: &io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            let known = names();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            Fault::new(
                NOBODY,
                format!(
                    "gate {name}: {} does not exist, so no service was started under it. \
                     Gates in {}: {known}. Start the service under the library, or \
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
            format!("gate {name}: {} lies on a read-only file system", path.display()),
        ),
        _ => Fault::io(format!("gate {name}: {}", path.display()), error),
    }
}

/// Makes a control page in one step: nobody ever sees half of one.
fn create_page(dir: &Path, profile: &str) -> Result<()> {
    if profile.len() > PROFILE_MAX {
        return Err(Fault::new(
            CONFIG,
            format!("the profile has {} bytes, at most {PROFILE_MAX} fit", profile.len()),
        ));
    }
    let mut bytes = vec![0u8; SIZE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(std::mem::offset_of!(ControlPage, magic), &MAGIC.to_ne_bytes());
    put(std::mem::offset_of!(ControlPage, layout), &LAYOUT.to_ne_bytes());
    put(std::mem::offset_of!(ControlPage, size), &(SIZE as u32).to_ne_bytes());
    put(std::mem::offset_of!(ControlPage, boot_id), &boot_id()?);
    let len = (profile.len() as u32).to_ne_bytes();
    put(std::mem::offset_of!(ControlPage, profile_len), &len);
    put(std::mem::offset_of!(ControlPage, profile), profile.as_bytes());

    let temporary = dir.join(format!(".control.{}", std::process::id()));
    let path = dir.join("control");
    let made = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        // A link, not a rename: a page that another has made meanwhile may
        // already be mapped by a service, and replacing it would leave that detached.
        match fs::hard_link(&temporary, &path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    })();
    let _ = fs::remove_file(&temporary);
    made.map_err(|e| Fault::io(format!("cannot make {}", path.display()), &e))
}

/// The profile's text for a gate: `--config`, else `$WRITEGATE_CONF`, else
/// `/etc/writegate/NAME.conf`, else none.
pub fn profile(name: &str, config: Option<&Path>) -> Result<String> {
    let named = config
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("WRITEGATE_CONF").map(PathBuf::from));
    let must_exist = named.is_some();
    let path = named.unwrap_or_else(|| format!("/etc/writegate/{name}.conf").into());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(String::new()),
        Err(e) => return Err(Fault::io(format!("cannot read {}", path.display()), &e)),
    };
    gate::profile::check(&text).map_err(|wrong| {
        Fault::new(
            CONFIG,
            format!("{}:{}:{}: {}", path.display(), wrong.line, wrong.column, wrong.what),
        )
    })?;
    Ok(text)
}
