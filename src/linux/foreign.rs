//! Another process's memory, and an anonymous file to keep a copy of it in.

use crate::linux::clock;
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, ftruncate};
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

/// Copies another process's memory at `from` over all of `to`; all or an error.
pub fn read_memory(pid: i32, from: u64, to: &mut [u8]) -> io::Result<()> {
    let len = to.len();
    let remote = [RemoteIoVec { base: from as usize, len }];
    match process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(to)], &remote) {
        Ok(got) if got == len => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(e) => Err(e.into()),
    }
}

/// An anonymous file of this size.
pub fn anonymous_file(len: usize) -> io::Result<OwnedFd> {
    let fd = match memfd_create(c"writegate", MFdFlags::MFD_CLOEXEC) {
        // Before Linux 3.17.
        Err(Errno::ENOSYS) => nameless_file()?,
        made => made?,
    };
    ftruncate(&fd, len as libc::off_t)?;
    Ok(fd)
}

/// A file in memory whose name is gone.
fn nameless_file() -> io::Result<OwnedFd> {
    let mut failed = io::ErrorKind::NotFound.into();
    for dir in ["/dev/shm", "/run", "/tmp"] {
        let path = format!("{dir}/.writegate.{}.{}", std::process::id(), clock::now_ns());
        match File::options().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file.into());
            }
            Err(e) => failed = e,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn where_there_is_no_memfd_a_file_without_a_name_serves() {
        let mut file = File::from(nameless_file().unwrap());
        file.write_all(b"x").unwrap();
        let at = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(at.to_string_lossy().ends_with(" (deleted)"), "{}", at.display());
    }
}
