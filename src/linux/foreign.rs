//! Another process's memory, and an anonymous file to keep a copy of it in.

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, ftruncate};
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;

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
    let fd = memfd_create(c"writegate", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&fd, len as libc::off_t)?;
    Ok(fd)
}
