//! A process that lays a system call filter on itself (prctl, seccomp): from then on the
//! library makes no call that the program did not ask for, and asks before what it may not ask
//! later.

use crate::announce::{BRACKET, PASS};
use crate::clock;
use crate::frame::Frame;
use crate::linux::confined;
use crate::protected::{operand, unasked};
use linux_raw_sys::prctl::PR_SET_SECCOMP;

/// Operations of seccomp that lay a filter on the caller.
const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// prctl.
pub fn prctl(frame: &mut Frame) -> u64 {
    if frame.arg(0) as u32 != PR_SET_SECCOMP {
        return PASS;
    }
    before(frame)
}

/// The system call of that name, which libc has no function for.
pub fn seccomp(frame: &mut Frame) -> u64 {
    // The argument after the number.
    let operation = frame.regs[1] as u32;
    // Strict mode is the operation before.
    if operation > SECCOMP_SET_MODE_FILTER {
        return PASS;
    }
    before(frame)
}

fn before(frame: &mut Frame) -> u64 {
    clock::is_foreign();
    if !confined::by_itself() {
        unasked::ask(operand::descriptor);
    }
    frame.note[0] = confined::confine_itself() as u64;
    BRACKET
}

/// After the call: it may have failed.
pub fn done(frame: &Frame) {
    if frame.int() != 0 {
        confined::as_before(frame.note[0] as u8);
    }
}
