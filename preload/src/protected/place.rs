//! Does a file lie on a protected place, and is it judged there?
//!
//! By its device, of a list that the freezer has published or of this process's own start; or by
//! its path, below a directory that was named to this process (what was mounted there since the
//! list was published has another device). Either is enough. What is in doubt is protected.
//!
//! The path is that of the file which is reached, as the kernel shows it, never a name that leads
//! there. So is what an exclusion is held against.

use super::passed_by;
use crate::this_process::settings::settings;
use crate::this_process::state::control;
use gate::places::{Kind, Listed, Named};
use gate::profile::{self, Key};
use linux_raw_sys::general::{
    ANON_INODE_FS_MAGIC, BINFMTFS_MAGIC, BPF_FS_MAGIC, BTRFS_SUPER_MAGIC, CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, DEVPTS_SUPER_MAGIC, EFIVARFS_MAGIC, HUGETLBFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC, PIPEFS_MAGIC, PROC_SUPER_MAGIC, PSTOREFS_MAGIC, RAMFS_MAGIC,
    SECURITYFS_MAGIC, SELINUX_MAGIC, SOCKFS_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC, TRACEFS_MAGIC,
};

/// Of the kernel's own header only (it is not in linux/magic.h).
const MQUEUE_MAGIC: u32 = 0x19800202;
/// Of the kernel's own header only (it is not in linux/magic.h).
const CONFIGFS_MAGIC: u32 = 0x62656570;

/// File systems that do not lie on storage.
const IN_MEMORY: [u32; 21] = [
    TMPFS_MAGIC,
    RAMFS_MAGIC,
    PROC_SUPER_MAGIC,
    SYSFS_MAGIC,
    DEVPTS_SUPER_MAGIC,
    CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC,
    DEBUGFS_MAGIC,
    TRACEFS_MAGIC,
    SECURITYFS_MAGIC,
    PIPEFS_MAGIC,
    SOCKFS_MAGIC,
    ANON_INODE_FS_MAGIC,
    MQUEUE_MAGIC,
    HUGETLBFS_MAGIC,
    BPF_FS_MAGIC,
    CONFIGFS_MAGIC,
    SELINUX_MAGIC,
    EFIVARFS_MAGIC,
    PSTOREFS_MAGIC,
    BINFMTFS_MAGIC,
];

fn kind(magic: Option<u32>) -> Kind {
    match magic {
        Some(BTRFS_SUPER_MAGIC) => Kind::Btrfs,
        Some(OVERLAYFS_SUPER_MAGIC) => Kind::Overlay,
        Some(magic) if IN_MEMORY.contains(&magic) => Kind::Memory,
        _ => Kind::Storage,
    }
}

/// Is a file protected that lies here, and whose changes are not excluded?
///
/// `dev`: its device; `path`: where it is; empty if that cannot be told. `links`: it may be reached under other
/// names too, to which no exclusion of this one applies. `magic`: its file system's number.
pub fn judge(dev: u64, path: &[u8], links: bool, magic: impl Fn() -> Option<u32>) -> bool {
    let by_device = on_protected_device(dev, || kind(magic()));
    let named = below_a_named_directory(path);
    if !by_device && !named {
        passed_by::note(dev, || kind(magic()));
        return false;
    }
    links || path.is_empty() || !is_excluded(path, named)
}

fn on_protected_device(dev: u64, kind: impl Fn() -> Kind) -> bool {
    let settings = settings();
    if settings.devices().contains(&dev) {
        return true;
    }
    match control().map_or(Listed::Never, |page| page.places.lists(dev, &kind)) {
        Listed::Yes => true,
        Listed::No => false,
        Listed::Never => settings.paths().is_empty() && kind() != Kind::Memory,
    }
}

/// Does this path lie below a directory that was named to this process?
pub fn below_a_named_directory(path: &[u8]) -> bool {
    let below = |directory: &[u8]| {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        path.strip_prefix(directory).is_some_and(|rest| rest.first().is_none_or(|c| *c == b'/'))
    };
    !path.is_empty() && Named::parts(settings().paths()).any(below)
}

/// What is excluded everywhere (/dev, /var/log) is not excluded below a directory that was named.
fn is_excluded(path: &[u8], named: bool) -> bool {
    let settings = settings();
    let excluded = if named {
        settings.given(Key::Exclude, path)
    } else {
        settings.matches(Key::Exclude, path)
    };
    excluded || Named::parts(settings.exclude()).any(|pattern| profile::glob(pattern, path))
}
