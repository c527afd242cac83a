//! What the shim and its freezer share: a file that both map. Whoever runs the server makes it (128 bytes or more).

use crossbeam_utils::CachePadded;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

/// The variable that names the file.
pub const VARIABLE: &str = "PLAIN_GATE";
/// Nobody is held longer: as our own gate's default.
pub const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

#[repr(C)]
pub struct Page {
    /// 1: closed.
    pub barrier: CachePadded<AtomicU64>,
    /// Calls that are under way. A process that is killed inside one stays counted for ever.
    pub inside: CachePadded<AtomicU64>,
}

/// The page of the file that the environment names; None where it names none, or none that can be mapped.
pub fn map() -> Option<&'static Page> {
    let file =
        std::fs::File::options().read(true).write(true).open(std::env::var_os(VARIABLE)?).ok()?;
    let size = size_of::<Page>();
    if file.metadata().ok()?.len() < size as u64 {
        return None;
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a file that is long enough; the kernel chooses the place.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    // SAFETY: mapped for the process's whole life, and what lies there are atomics.
    (at != libc::MAP_FAILED).then(|| unsafe { &*at.cast::<Page>() })
}
