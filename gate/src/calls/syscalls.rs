//! System calls by number: which call of the table each of them is.
//!
//! The one list for all who meet a system call past libc's own function: the
//! library's `syscall()`, and the doctor's look at a program's own `syscall`
//! instructions. `tests/library/exports/` holds names and numbers against the kernel's.
//!
//! A line reads `KERNEL_NAME = NUMBER => CALL;`, sorted by number. The arguments are
//! those of the call. (`setxattrat`, `removexattrat` and `file_setattr` have no function
//! in any libc; they take directory and path where `fchmodat` does.)

use super::{Call, Rule, TABLE};

macro_rules! syscalls {
    ($list:ident $names:ident: $($name:ident = $number:literal => $call:ident;)*) => {
        /// Number, the call of the table that it is; sorted by number. No names: in the
        /// library every pointer would be a relocation at every start of every program.
        pub static $list: &[(u16, Call)] = &[$(($number, Call::$call)),*];

        static $names: &[&str] = &[$(stringify!($name)),*];
    };
}

syscalls! { X86_64 X86_64_NAMES:
    write = 1 => write;
    open = 2 => open;
    close = 3 => close;
    mmap = 9 => mmap;
    mprotect = 10 => mprotect;
    ioctl = 16 => ioctl;
    pwrite64 = 18 => pwrite;
    writev = 20 => writev;
    mremap = 25 => mremap;
    madvise = 28 => madvise;
    dup = 32 => dup;
    dup2 = 33 => dup2;
    sendfile = 40 => sendfile;
    sendto = 44 => sendto;
    sendmsg = 46 => sendmsg;
    bind = 49 => bind;
    execve = 59 => execve;
    fcntl = 72 => fcntl;
    flock = 73 => flock;
    fsync = 74 => fsync;
    fdatasync = 75 => fdatasync;
    truncate = 76 => truncate;
    ftruncate = 77 => ftruncate;
    rename = 82 => rename;
    mkdir = 83 => mkdir;
    rmdir = 84 => rmdir;
    creat = 85 => creat;
    link = 86 => link;
    unlink = 87 => unlink;
    symlink = 88 => symlink;
    chmod = 90 => chmod;
    fchmod = 91 => fchmod;
    chown = 92 => chown;
    fchown = 93 => fchown;
    lchown = 94 => lchown;
    utime = 132 => utime;
    mknod = 133 => mknod;
    prctl = 157 => prctl;
    setxattr = 188 => setxattr;
    lsetxattr = 189 => lsetxattr;
    fsetxattr = 190 => fsetxattr;
    removexattr = 197 => removexattr;
    lremovexattr = 198 => lremovexattr;
    fremovexattr = 199 => fremovexattr;
    io_submit = 209 => lio_listio;
    utimes = 235 => utimes;
    openat = 257 => openat;
    mkdirat = 258 => mkdirat;
    mknodat = 259 => mknodat;
    fchownat = 260 => fchownat;
    futimesat = 261 => futimesat;
    unlinkat = 263 => unlinkat;
    renameat = 264 => renameat;
    linkat = 265 => linkat;
    symlinkat = 266 => symlinkat;
    fchmodat = 268 => fchmodat;
    splice = 275 => splice;
    sync_file_range = 277 => sync_file_range;
    utimensat = 280 => utimensat;
    fallocate = 285 => fallocate;
    dup3 = 292 => dup3;
    pwritev = 296 => pwritev;
    open_by_handle_at = 304 => open_by_handle_at;
    syncfs = 306 => syncfs;
    sendmmsg = 307 => sendmmsg;
    renameat2 = 316 => renameat2;
    execveat = 322 => execveat;
    copy_file_range = 326 => copy_file_range;
    pwritev2 = 328 => pwritev2;
    pkey_mprotect = 329 => pkey_mprotect;
    close_range = 436 => close_range;
    openat2 = 437 => openat2;
    pidfd_getfd = 438 => pidfd_getfd;
    fchmodat2 = 452 => fchmodat;
    setxattrat = 463 => fchmodat;
    removexattrat = 466 => fchmodat;
    file_setattr = 469 => fchmodat;
}

macro_rules! set_ups {
    ($list:ident: $($constant:ident $name:ident = $number:literal;)*) => {
        $(
            #[doc = concat!("The number of `", stringify!($name), "`, x86_64.")]
            pub const $constant: u16 = $number;
        )*
        static $list: &[(u16, &str)] = &[$(($number, stringify!($name))),*];
    };
}

// Through these a program changes files past every hook: no call is held, the process is
// named instead.
set_ups! { X86_64_UNHELD:
    IO_SETUP io_setup = 206;
    IO_URING_SETUP io_uring_setup = 425;
    IO_URING_ENTER io_uring_enter = 426;
}

/// The number of `seccomp`, x86_64: it may lay a filter on the process, and libc has no
/// function for it.
pub const SECCOMP: u16 = 317;

/// Numbers of the x32 interface carry this bit, and reach the same calls.
pub const X32_BIT: u32 = 0x4000_0000;

/// The name of an x86_64 system call that changes files by itself; none for any other
/// number (one that only opens, closes, locks, sends or maps is no change yet).
pub fn changing(number: u32) -> Option<&'static str> {
    let number = u16::try_from(number).ok()?;
    if let Ok(at) = X86_64.binary_search_by_key(&number, |(nr, _)| *nr) {
        let (_, call) = X86_64.get(at)?;
        let rule = TABLE.get(*call as usize)?.rule?;
        return changes_files(rule).then(|| X86_64_NAMES.get(at).copied()).flatten();
    }
    X86_64_UNHELD.iter().find(|(nr, _)| *nr == number).map(|(_, name)| *name)
}

/// Does a call of this rule change files whatever its other arguments are?
fn changes_files(rule: Rule) -> bool {
    use Rule::*;
    matches!(rule, Fd(_) | Attributes(_) | Path(..) | Paths(..) | Make(..) | Link(..) | Unlink(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_stand_once() {
        assert!(X86_64.is_sorted_by(|(a, _), (b, _)| a < b), "it is searched by halves");
        assert!(X86_64_UNHELD.iter().all(|(nr, _)| X86_64.iter().all(|(held, _)| held != nr)));
        assert_eq!(X86_64.len(), X86_64_NAMES.len());
        assert!(X86_64.iter().all(|(_, call)| *call != Call::syscall), "syscall() ends in it");
    }

    #[test]
    fn a_change_has_the_kernels_name_and_an_opening_is_none() {
        assert_eq!(changing(18), Some("pwrite64"));
        assert_eq!(changing(466), Some("removexattrat"));
        assert_eq!(changing(425), Some("io_uring_setup"));
        assert_eq!(changing(2), None, "open");
        assert_eq!(changing(3), None, "close");
        assert_eq!(changing(39), None, "getpid");
        assert_eq!(changing(0x1_0001), None, "no number of the kernel's");
    }
}
