//! Asynchronous output of libc: queueing it is held, the helper thread's writes are named.

use crate::announce::{PASS, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::program_memory::program_can_read;
use crate::protected::operand::Operand;
use crate::this_process::state::set_region_flag;
use gate::region::FLAG_AIO;

/// The queueing is held; what a helper thread writes later is named.
///
/// # Safety
/// The argument is an aio control block.
pub unsafe fn aio_write(frame: &mut Frame) -> u64 {
    set_region_flag(FLAG_AIO);
    let block = frame.arg(0) as *const i32;
    if !program_can_read(block as u64, size_of::<i32>()) {
        return PASS;
    }
    // SAFETY: `struct aiocb` begins with the descriptor, an int; it can be read, as was seen
    // above. The operand names no path.
    unsafe {
        let fd = block.read_unaligned();
        announce(frame, Some(fd), SectionEffect::Begins, |_| Operand::Fd(fd))
    }
}

/// As [`aio_write`], for a list.
pub fn aio_list(frame: &mut Frame) -> u64 {
    set_region_flag(FLAG_AIO);
    // SAFETY: this operand names no path.
    unsafe { announce(frame, None, SectionEffect::Begins, |_| Operand::Anything) }
}
