//! What was seen of one process, from the outside. `observe` gathers it, `diagnose` says
//! what it means.

use crate::command::servers::{self, Server};
use crate::foreign_text::ForeignText;
use crate::linux::library::LibraryLayout;
use crate::linux::program_file::ProgramFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables by their names.
pub type Environment = BTreeMap<String, String>;

/// Everything about one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Its id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its name; empty: it has ended meanwhile.
    pub program: ForeignText,
    /// The program's path.
    pub exe: Option<PathBuf>,
    /// Effective user.
    pub uid: Option<u32>,
    /// Its control group.
    pub cgroup: String,
    /// Why `maps` could not be read.
    pub maps_error: Option<i32>,
    /// Looking at it hung.
    pub hung: bool,
    /// The library, as mapped.
    pub library: Option<String>,
    /// The layout of that library.
    pub library_layout: Option<LibraryLayout>,
    /// The mapped library's file is gone (an upgrade puts another one at its place).
    pub library_replaced: bool,
    /// Set-id programs take it too: it has the bit and lies in a standard directory,
    /// or /etc/ld.so.preload names it.
    pub library_for_set_id: bool,
    /// Path and inode of a control page that it maps.
    pub control_page: Option<(String, u64)>,
    /// That page has its name in another mount namespace: a container's own gate, or ours as that has it.
    pub namesake: bool,
    /// Other files that it maps executable.
    pub executable_files: Vec<String>,
    /// Its program's file.
    pub program_file: Option<ProgramFile>,
    /// AT_SECURE: the loader believes no variable.
    pub secure_mode: Option<bool>,
    /// The variables that matter; None: not to be seen, or overwritten by a title.
    pub environment: Option<Environment>,
    /// Its number and this name one process, as in [`crate::linux::procfs::Stat`].
    pub start: u64,
    /// When that was, ns since 1970; not the same in two looks.
    pub started_ns: u64,
    /// It has another root directory than we.
    pub chroot: Option<PathBuf>,
    /// Its monotonic clock is not ours.
    pub clock_offset: bool,
    /// AppArmor's or SELinux's label, if it confines.
    pub label: Option<String>,
    /// The gate's page cannot be seen at its place in this process's root.
    pub page_hidden: bool,
    /// It lives in a user namespace that does not know the page's owner: who its root is for us.
    pub page_of_nobody: Option<u32>,
    /// The boot id cannot be read in its root.
    pub boot_id_hidden: bool,
    /// What is wrong with the library that LD_PRELOAD names.
    pub preload_fault: Option<PreloadFault>,
}

/// What keeps the loader from taking the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PreloadFault {
    /// No such file in its root.
    Missing(String),
    /// Its user may not pass this directory or read this file.
    Unreadable(String),
    /// The library has this many bits, the program has others.
    Bits(u8),
}

impl Observation {
    /// Its systemd unit.
    pub fn unit(&self) -> Option<&str> {
        self.cgroup.rsplit('/').find(|part| part.ends_with(".service"))
    }

    /// The known server that it is a part of, by its program's path.
    pub fn server(&self) -> Option<&'static Server> {
        servers::of_program(self.exe.as_ref()?)
    }

    /// Our library, as its LD_PRELOAD names it.
    pub fn named_library(&self) -> Option<&str> {
        self.environment.as_ref().and_then(named_library)
    }
}

/// Our library, as LD_PRELOAD names it.
pub fn named_library(environment: &Environment) -> Option<&str> {
    let list = environment.get("LD_PRELOAD")?;
    list.split([':', ' ']).find(|part| part.rsplit('/').next() == Some("libwritegate.so"))
}
