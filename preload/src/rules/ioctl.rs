//! ioctl: every request to a file or directory changes it, but for those that the kernel lists as
//! readers.
//!
//! Which way an argument is copied says nothing: EXT4_IOC_SWAP_BOOT and EXT4_IOC_MIGRATE copy none,
//! FS_IOC_SET_ENCRYPTION_POLICY calls itself a reader. What no list here knows is taken for a change;
//! only file systems answer requests to files, and what is asked of a socket, a terminal or a
//! device is none of theirs.

use crate::announce::{PASS, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::protected::operand::Operand;
use linux_raw_sys::general::{_IOC_TYPEMASK, _IOC_TYPESHIFT};
use linux_raw_sys::ioctl::*;

/// Requests to terminals, pipes and any descriptor (FIONREAD, FIOCLEX), and to sockets: the most
/// frequent by far.
const NOT_FILES: [u32; 2] = [b'T' as u32, 0x89];

/// Of linux/fs.h, newer than these headers: the file system's UUID, and its path in sysfs.
const ABOUT_FILE_SYSTEM: u32 = 0x15;

/// Readers: of linux/fs.h, fscrypt.h, fsverity.h, btrfs.h, msdos_fs.h, f2fs.h and ext4's own header.
/// Freezing, thawing and trimming a file system are among them: they change no file.
const READERS: [u32; 53] = [
    FIBMAP,
    FIGETBSZ,
    FIFREEZE,
    FITHAW,
    FITRIM,
    FS_IOC_GETFLAGS,
    FS_IOC32_GETFLAGS,
    FS_IOC_GETVERSION,
    FS_IOC32_GETVERSION,
    FS_IOC_FIEMAP,
    FS_IOC_FSGETXATTR,
    FS_IOC_GETFSLABEL,
    FS_IOC_GETFSMAP,
    FS_IOC_GET_ENCRYPTION_POLICY,
    FS_IOC_GET_ENCRYPTION_POLICY_EX,
    FS_IOC_GET_ENCRYPTION_KEY_STATUS,
    FS_IOC_GET_ENCRYPTION_NONCE,
    FS_IOC_MEASURE_VERITY,
    FS_IOC_READ_VERITY_METADATA,
    EXT4_IOC_GETVERSION,
    EXT4_IOC32_GETVERSION,
    EXT4_IOC_GETRSVSZ,
    EXT4_IOC32_GETRSVSZ,
    EXT4_IOC_GETSTATE,
    EXT4_IOC_GET_ES_CACHE,
    EXT4_IOC_PRECACHE_EXTENTS,
    EXT4_IOC_CLEAR_ES_CACHE,
    VFAT_IOCTL_READDIR_BOTH,
    VFAT_IOCTL_READDIR_SHORT,
    FAT_IOCTL_GET_ATTRIBUTES,
    FAT_IOCTL_GET_VOLUME_ID,
    F2FS_IOC_GET_FEATURES,
    F2FS_IOC_GET_PIN_FILE,
    F2FS_IOC_GET_COMPRESS_BLOCKS,
    F2FS_IOC_GET_COMPRESS_OPTION,
    F2FS_IOC_PRECACHE_EXTENTS,
    BTRFS_IOC_TREE_SEARCH,
    BTRFS_IOC_TREE_SEARCH_V2,
    BTRFS_IOC_INO_LOOKUP,
    BTRFS_IOC_INO_LOOKUP_USER,
    BTRFS_IOC_INO_PATHS,
    BTRFS_IOC_LOGICAL_INO,
    BTRFS_IOC_LOGICAL_INO_V2,
    BTRFS_IOC_SPACE_INFO,
    BTRFS_IOC_DEV_INFO,
    BTRFS_IOC_FS_INFO,
    BTRFS_IOC_GET_DEV_STATS,
    BTRFS_IOC_GET_FEATURES,
    BTRFS_IOC_GET_SUPPORTED_FEATURES,
    BTRFS_IOC_GET_SUBVOL_INFO,
    BTRFS_IOC_GET_SUBVOL_ROOTREF,
    BTRFS_IOC_SUBVOL_GETFLAGS,
    BTRFS_IOC_SEND,
];

/// Does a request change a file, if it is a file's?
fn may_change(request: u32) -> bool {
    let kind = request >> _IOC_TYPESHIFT & _IOC_TYPEMASK;
    !NOT_FILES.contains(&kind) && kind != ABOUT_FILE_SYSTEM && !READERS.contains(&request)
}

pub fn ioctl(frame: &mut Frame) -> u64 {
    if !may_change(frame.arg(1) as u32) {
        return PASS;
    }
    let fd = frame.arg(0) as i32;
    // SAFETY: this operand names no path.
    unsafe { announce(frame, Some(fd), SectionEffect::Begins, |_| Operand::Fd(fd)) }
}
