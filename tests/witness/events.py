"""Which events of the kernel are recorded, and the fields that the witness reads of each.

A kernel that lacks one of them, or a field of it, cannot be judged: that is said.
"""

# System calls by number (x86_64). The witness tells a change by the file system's own event inside one of these.
CHANGING = {
    1: "write", 18: "pwrite64", 20: "writev", 296: "pwritev", 328: "pwritev2", 40: "sendfile", 275: "splice",
    326: "copy_file_range", 2: "open", 257: "openat", 437: "openat2", 85: "creat", 82: "rename", 264: "renameat",
    316: "renameat2", 87: "unlink", 263: "unlinkat", 83: "mkdir", 258: "mkdirat", 84: "rmdir", 86: "link",
    265: "linkat", 88: "symlink", 266: "symlinkat", 133: "mknod", 259: "mknodat", 76: "truncate", 77: "ftruncate",
    285: "fallocate", 90: "chmod", 91: "fchmod", 268: "fchmodat", 452: "fchmodat2", 92: "chown", 93: "fchown",
    94: "lchown", 260: "fchownat", 132: "utime", 235: "utimes", 261: "futimesat", 280: "utimensat",
    188: "setxattr", 189: "lsetxattr", 190: "fsetxattr", 197: "removexattr", 198: "lremovexattr",
    199: "fremovexattr", 16: "ioctl", 426: "io_uring_enter", 209: "io_submit", 49: "bind",
}
OPENING = {2: 1, 257: 2, 437: None, 85: None}           # where the flags stand among the arguments; None: nowhere
DUP, DUP2, DUP3, FCNTL, CLOSE, CLOSE_RANGE, UNSHARE = 32, 33, 292, 72, 3, 436, 272
FLOCK, SENDMSG, RECVMSG, SENDMMSG, RECVMMSG = 73, 46, 47, 307, 299
WAITS = {202: "futex"}
FSYNC = {74: "fsync", 75: "fdatasync", 162: "sync", 306: "syncfs"}
RECORDED_CALLS = sorted({*CHANGING, *WAITS, *FSYNC, DUP, DUP2, DUP3, FCNTL, CLOSE, CLOSE_RANGE, UNSHARE, FLOCK,
                         SENDMSG, RECVMSG, SENDMMSG, RECVMMSG})

# event -> the fields that are read, in the order in which `raw` gives them.
COMMON = {
    "raw_syscalls/sys_enter": ["id", "args"],
    "raw_syscalls/sys_exit": ["id", "ret"],
    "task/task_newtask": ["pid", "clone_flags"],
    "sched/sched_process_exec": ["filename", "pid", "old_pid"],
    "sched/sched_process_exit": ["pid"],
    "filelock/posix_lock_inode": ["s_dev", "i_ino", "owner", "flags", "type", "fl_start", "fl_end", "ret"],
    "filelock/flock_lock_inode": ["s_dev", "i_ino", "owner", "flags", "type", "ret"],
    "filelock/generic_add_lease": ["s_dev", "i_ino", "owner", "type"],
    "filelock/generic_delete_lease": ["s_dev", "i_ino"],
    "ftrace/print": ["buf"],
}

# What a file system says of a change, in the context of whoever makes it. `dev` and `ino` name the file.
FILE_SYSTEMS = {
    "ext4": {
        "ext4/ext4_mark_inode_dirty": ["dev", "ino", "ip"],
        "ext4/ext4_da_write_end": ["dev", "ino"],
        "ext4/ext4_write_end": ["dev", "ino"],
        "ext4/ext4_journalled_write_end": ["dev", "ino"],
        "ext4/ext4_unlink_enter": ["dev", "ino"],
        "ext4/ext4_truncate_enter": ["dev", "ino"],
        "ext4/ext4_fallocate_enter": ["dev", "ino"],
        "ext4/ext4_allocate_inode": ["dev", "ino"],
    },
    # Of a name that comes or goes xfs tells the directory. Not told: extended attributes; which file was made
    # (`new-files` then explains nothing: it may be called unexplained, and is never passed over).
    "xfs": {
        "xfs/xfs_file_buffered_write": ["dev", "ino"],
        "xfs/xfs_file_direct_write": ["dev", "ino"],
        "xfs/xfs_update_time": ["dev", "ino"],
        "xfs/xfs_setattr": ["dev", "ino"],
        "xfs/xfs_create": ["dev", "dp_ino"],
        "xfs/xfs_symlink": ["dev", "dp_ino"],
        "xfs/xfs_link": ["dev", "dp_ino"],
        "xfs/xfs_remove": ["dev", "dp_ino"],
        "xfs/xfs_rename": ["dev", "src_dp_ino"],
        "xfs/xfs_alloc_file_space": ["dev", "ino"],
        "xfs/xfs_free_file_space": ["dev", "ino"],
        "xfs/xfs_zero_file_space": ["dev", "ino"],
        "xfs/xfs_collapse_file_space": ["dev", "ino"],
        "xfs/xfs_insert_file_space": ["dev", "ino"],
        "xfs/xfs_write_fault": ["dev", "ino"],
    },
}
# Why others are refused; what is not named here is merely not known.
REFUSED = {
    # As its events were on Linux 6.18, all of them recorded around one call each.
    "btrfs": "link and unlink show there that a tree was locked, and no file; chmod shows a file's number without its subvolume, "
             "and in two subvolumes one number is two files",
}
OPTIONAL = {"ext4/ext4_journalled_write_end", "ext4/ext4_write_end", "ext4/ext4_da_write_end"}
CREATES = {"ext4/ext4_allocate_inode"}
WRITES = {"ext4/ext4_da_write_end", "ext4/ext4_write_end", "ext4/ext4_journalled_write_end", "xfs/xfs_file_buffered_write",
          "xfs/xfs_file_direct_write"}
# xfs says when a page that is mapped is first stored to.
STORES = {"xfs/xfs_write_fault"}
# On ext4 a store through a mapping shows as the file's time being set, outside any recorded call.
TOUCH = "ext4_dirty_inode"


def device(number):
    """st_dev of user space as the kernel's events print it: major << 20 | minor."""
    import os
    return os.major(number) << 20 | os.minor(number)
