//! Mappings, and whether memory can be read.

use super::call::call;
use super::confined;
use linux_raw_sys::errno::EFAULT;
use linux_raw_sys::general as nr;
use linux_raw_sys::general::{
    MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_READ,
    PROT_WRITE,
};

/// Size of a page.
pub const PAGE: usize = 4096;

/// The greatest error number; negated, what a failed call returns.
const MAX_ERRNO: isize = 4095;

/// A new mapping; null on failure. `fd` -1: anonymous, shared, no swap reserved.
pub fn map(size: usize, writable: bool, fd: i32) -> *mut u8 {
    let protection = if writable { PROT_READ | PROT_WRITE } else { PROT_READ };
    let flags = if fd < 0 { MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE } else { MAP_SHARED };
    let at = call!(nr::__NR_mmap, 0, size, protection, flags, fd, 0);
    if at < 0 { core::ptr::null_mut() } else { at as *mut u8 }
}

/// Memory of this process's own, all zero; null: there is none.
pub fn allocate(size: usize) -> *mut u8 {
    const NO_FILE: i32 = -1;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let at = call!(nr::__NR_mmap, 0, size, PROT_READ | PROT_WRITE, flags, NO_FILE, 0);
    if at < 0 { core::ptr::null_mut() } else { at as *mut u8 }
}

/// Ends a mapping.
///
/// # Safety
/// Nothing refers to this memory any more.
pub unsafe fn unmap(at: *mut u8, size: usize) {
    call!(nr::__NR_munmap, at, size);
}

/// Moves a mapping over another in one step; false: nothing was moved.
///
/// # Safety
/// What refers to the memory at `to` may as well refer to what lies at `from`, and
/// nothing refers to the memory at `from`.
pub unsafe fn move_mapping(from: *mut u8, size: usize, to: *mut u8) -> bool {
    call!(nr::__NR_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to as isize
}

/// Maps the beginning of a shared mapping a second time; null: no memory.
pub fn map_again(from: *mut u8, size: usize) -> *mut u8 {
    // An old size of 0 with MREMAP_MAYMOVE leaves the old mapping where it is.
    let at = call!(nr::__NR_mremap, from, 0, size, MREMAP_MAYMOVE, 0);
    if (-MAX_ERRNO..0).contains(&at) { core::ptr::null_mut() } else { at as *mut u8 }
}

/// Lets a page read as zero in every forked child; false before Linux 4.14.
pub fn wipe_on_fork(at: *const u8, size: usize) -> bool {
    call!(nr::__NR_madvise, at, size, nr::MADV_WIPEONFORK) == 0
}

/// Is there readable memory at this address, in this page? Asked of the kernel in
/// the cheapest way that changes nothing: a signal mask with a nonsensical `how`
/// is read first (EFAULT) and refused then (EINVAL). Where that must not be called, the answer
/// is yes: a program that confines itself passes no bad pointers.
pub fn readable(at: *const u8) -> bool {
    /// None of SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK.
    const NO_HOW: usize = 99;
    // Eight bytes that do not reach into the next page.
    let at = (at as usize & !7) as *const u8;
    !at.is_null()
        && (confined::by_itself()
            || call!(nr::__NR_rt_sigprocmask, NO_HOW, at, 0, size_of::<u64>())
                != -(EFAULT as isize))
}
