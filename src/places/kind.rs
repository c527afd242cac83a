//! Kinds of file systems: what of them can be known by device, and what can be watched.

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
    SMB_SUPER_MAGIC, fstatfs,
};
use std::os::fd::AsFd;

/// What a directory lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file system of this machine's, with one device number.
    Local,
    /// btrfs: each subvolume has a device number of its own.
    Btrfs,
    /// An overlay of others: files may show the device numbers of the layers, and what is changed in
    /// a layer is not told.
    Overlay,
    /// Others, on other machines or behind a program, can change it unseen: its name.
    Shared(&'static str),
}

/// Those that others can change unseen, by the number that statfs gives them. (linux/magic.h; the
/// rest of the file systems' own headers.)
const SHARED: [(i64, &str); 16] = [
    (NFS_SUPER_MAGIC.0, "NFS"),
    (SMB_SUPER_MAGIC.0, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (FUSE_SUPER_MAGIC.0, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7673_6f63, "Orange"),
    (0x786f_4256, "VirtualBox"),
    (0xf15f, "eCryptfs"),
];

impl Kind {
    /// Of an open file. None: it cannot be asked.
    pub fn of(file: impl AsFd) -> Option<Kind> {
        let FsType(number) = fstatfs(file).ok()?.filesystem_type();
        Some(match FsType(number) {
            BTRFS_SUPER_MAGIC => Kind::Btrfs,
            OVERLAYFS_SUPER_MAGIC => Kind::Overlay,
            _ => SHARED
                .iter()
                .find(|(magic, _)| *magic == number)
                .map_or(Kind::Local, |(_, name)| Kind::Shared(name)),
        })
    }
}

/// File systems of no files that a server stores anything in, as mountinfo calls them.
const NO_STORE: [&str; 21] = [
    "proc",
    "sysfs",
    "devpts",
    "devtmpfs",
    "cgroup",
    "cgroup2",
    "autofs",
    "mqueue",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "efivarfs",
    "fusectl",
    "binfmt_misc",
    "nsfs",
    "rpc_pipefs",
    "selinuxfs",
    "nfsd",
];

/// Can a server store anything on such a file system?
pub fn stores(kind: &str) -> bool {
    !NO_STORE.contains(&kind)
}
