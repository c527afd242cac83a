//! A gate's control page: makes it, maps it.

use super::boot;
use super::dir::{PAGE, not_safe};
use super::other_layout;
use crate::linux::mapping::Mapping;
use crate::linux::namespaces;
use crate::outcome::fault::{CONFIG, Fault, Result};
use gate::check::BadPage;
use gate::control::{ControlPage, MAGIC, PROFILE_MAX, SIZE};
use gate::layout::LAYOUT;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A mapped control page.
#[derive(Debug)]
pub struct MappedPage(Mapping);

impl MappedPage {
    /// Maps this file, to freeze or only to look at; refused if it is no page of this boot.
    pub fn map(file: &File, path: &Path, to_freeze: bool) -> Result<MappedPage> {
        let mapping = match to_freeze {
            true => Mapping::new(file, SIZE, true),
            false => Mapping::to_look_at(file, SIZE),
        };
        let page = MappedPage(mapping.map_err(|e| Fault::io(path.display(), &e))?);
        let made_by = page.get().boot_id;
        match page.get().check(&boot::id()?) {
            Ok(()) => Ok(page),
            Err(BadPage::Magic) => Err(not_safe(path, "is not a control page", "Remove it.")),
            Err(BadPage::Layout(layout)) => Err(other_layout::fault(path, layout)),
            Err(BadPage::Boot) if boot::made_this_page(file, &made_by) => Ok(page),
            Err(BadPage::Boot) if made_by == boot::NOT_SEEN => Err(not_safe(
                path,
                "was made by a process that could not read /proc/sys/kernel/random/boot_id \
                 (ProcSubset=pid in its unit, a chroot without /proc): nothing tells whether it is \
                 of this boot of the machine",
                "Its directory should be on a tmpfs. Remove it and restart the service.",
            )),
            Err(BadPage::Boot) => Err(not_safe(
                path,
                "was made in another boot of this machine",
                "Its directory should be on a tmpfs. Remove it and restart the service.",
            )),
        }
    }

    /// The page.
    pub fn get(&self) -> &ControlPage {
        self.0.foreign().at(0).expect("a mapping of SIZE bytes holds a page")
    }

    /// Where it is mapped, to find it in `/proc/self/maps`.
    pub fn address(&self) -> u64 {
        self.0.address()
    }
}

/// Makes a control page in one step: half of one is never seen.
pub fn create(dir: &Path, profile: &str) -> Result<()> {
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
    put(std::mem::offset_of!(ControlPage, boot_id), &boot::id()?);
    let made_in = namespaces::own_pid_namespace();
    put(std::mem::offset_of!(ControlPage, made_in), &made_in.to_ne_bytes());
    let len = (profile.len() as u32).to_ne_bytes();
    put(std::mem::offset_of!(ControlPage, profile_len), &len);
    put(std::mem::offset_of!(ControlPage, profile), profile.as_bytes());

    let temporary = dir.join(format!(".control.{}", std::process::id()));
    let path = dir.join(PAGE);
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
    made.map_err(|e| not_made(&path, &e))
}

/// A gate that cannot be made, and what to do.
pub fn not_made(path: &Path, error: &io::Error) -> Fault {
    let mut fault = Fault::io(format!("cannot make {}", path.display()), error);
    fault.message += match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            "; nothing new is gated until there is room again: `df` and `df -i` of that directory"
        }
        Some(libc::EROFS) => "; `mount -o remount,rw` that file system",
        _ => "; a user without root sets WRITEGATE_DIR to a directory of its own",
    };
    fault
}
