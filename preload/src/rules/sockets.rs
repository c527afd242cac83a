//! bind: a socket with a name in the file system makes that name.

use crate::announce::{PASS, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::program_memory::program_can_read;
use crate::protected::operand::Operand;
use linux_raw_sys::general::AT_FDCWD;
use linux_raw_sys::net::{AF_UNIX, sockaddr_un};

/// Size of the family that a socket's address begins with.
const FAMILY: usize = size_of::<u16>();

/// # Safety
/// The arguments are bind's.
pub unsafe fn bind(frame: &mut Frame) -> u64 {
    let (address, len) = (frame.arg(1) as *const u8, frame.arg(2) as u32 as usize);
    if !(FAMILY + 1..=size_of::<sockaddr_un>()).contains(&len)
        || !program_can_read(address as u64, len)
    {
        return PASS;
    }
    // SAFETY: these bytes can be read, as was seen above, and stay as they are until the
    // program's call has returned. `name` is longer than the address's name: it ends with a
    // NUL, and lives until `announce` has returned.
    unsafe {
        let bytes = core::slice::from_raw_parts(address, len);
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
        // Not a name in the file system.
        if family as u32 != AF_UNIX || bytes[FAMILY] == 0 {
            return PASS;
        }
        // The name may end with the length (SUN_LEN), so it is copied to have an end.
        let mut name = [0u8; size_of::<sockaddr_un>() - FAMILY + 1];
        for (to, from) in name.iter_mut().zip(&bytes[FAMILY..]) {
            *to = *from;
        }
        let name = name.as_ptr();
        announce(frame, None, SectionEffect::None, |_| Operand::Name(AT_FDCWD, name))
    }
}
