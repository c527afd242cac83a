//! The system calls that take a lock of the kernel's, and those at whose end one may be gone.

use crate::linux::foreign;
use crate::linux::ptrace::calls::StoppedCall;
use std::path::PathBuf;

/// Calls at whose end a lock may be gone.
const MAY_UNLOCK: [i64; 7] = [
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_execve,
];
/// `fcntl`'s commands that lock or unlock a part of a file.
const SETS_LOCK: [i32; 4] = [libc::F_SETLK, libc::F_SETLKW, libc::F_OFD_SETLK, libc::F_OFD_SETLKW];

/// May a lock be gone at the end of this call, at which the thread is?
pub fn may_have_unlocked(call: &StoppedCall) -> bool {
    MAY_UNLOCK.contains(&call.number) && !call.is_at_beginning()
}

/// Is the thread, of this process, about to take a lock with this call?
pub fn is_to_lock(pid: i32, call: &StoppedCall) -> bool {
    let how = call.arguments[1] as i32;
    call.is_at_beginning()
        && match call.number {
            libc::SYS_flock => how & libc::LOCK_UN == 0,
            libc::SYS_fcntl => SETS_LOCK.contains(&how) && takes(pid, call.arguments[2]),
            _ => false,
        }
}

/// The file that this call is to lock, of this process, whose other descriptions may be in its way; none: it cannot
/// be told, or it locks for the process, which is never in its own way.
pub fn file_of(pid: i32, call: &StoppedCall) -> Option<PathBuf> {
    let for_the_process = [libc::F_SETLK, libc::F_SETLKW].contains(&(call.arguments[1] as i32));
    if call.number == libc::SYS_fcntl && for_the_process {
        return None;
    }
    std::fs::read_link(format!("/proc/{pid}/fd/{}", call.arguments[0] as i32)).ok()
}

/// Does the `struct flock` at this address ask for a lock? Its first field says so. Where it cannot be
/// read the call may as well be the one that unlocks.
fn takes(pid: i32, flock: u64) -> bool {
    let mut kind = [0; size_of::<libc::c_short>()];
    foreign::read_memory(pid, flock, &mut kind).is_ok()
        && i32::from(libc::c_short::from_ne_bytes(kind)) != libc::F_UNLCK
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINS: i64 = -libc::ENOSYS as i64;

    fn call(number: i64, how: i32, third: u64, result: i64) -> StoppedCall {
        StoppedCall { number, arguments: [3, how as u64, third], result }
    }

    #[test]
    fn what_takes_a_lock_and_what_gives_one_up() {
        let me = std::process::id() as i32;
        let fcntl = |kind: i32, how: i32| {
            let flock = [kind as libc::c_short; 16];
            is_to_lock(me, &call(libc::SYS_fcntl, how, flock.as_ptr() as u64, BEGINS))
        };
        assert!(
            SETS_LOCK.iter().all(|how| fcntl(libc::F_WRLCK, *how) && !fcntl(libc::F_UNLCK, *how))
        );
        assert!(!fcntl(libc::F_WRLCK, libc::F_GETLK), "it only asks");
        assert!(
            !is_to_lock(me, &call(libc::SYS_fcntl, libc::F_SETLK, 8, BEGINS)),
            "no memory there"
        );
        let flock = |how, result| is_to_lock(me, &call(libc::SYS_flock, how, 0, result));
        assert!(flock(libc::LOCK_EX | libc::LOCK_NB, BEGINS) && flock(libc::LOCK_SH, BEGINS));
        assert!(
            !flock(libc::LOCK_UN, BEGINS) && !flock(libc::LOCK_EX, 0),
            "it unlocks; it has locked"
        );
        assert!(may_have_unlocked(&call(libc::SYS_close, 0, 0, 0)));
        assert!(!may_have_unlocked(&call(libc::SYS_close, 0, 0, BEGINS)));
    }
}
