//! The trampoline's stack frame: what enter and leave see of one call.

/// Laid out for `arch`'s trampoline: it writes the first eight words.
#[repr(C, align(16))]
pub struct Frame {
    /// The argument registers; the trampoline reloads them from here.
    pub regs: [u64; 6],
    /// Before the call: rax as it came. After: the result.
    pub result: u64,
    /// Number of the exported call; the trampoline takes the real function by it.
    pub call: u32,
    _high: u32,
    /// Number of the call that this really is (`syscall()` is another's).
    pub inner: u16,
    /// What leave must undo.
    pub leave: Leave,
    _pad: [u8; 5],
    /// The word that an enclosing call had, to be restored.
    pub outer: u64,
    /// What the rule remembers between enter and leave.
    pub note: [u64; 5],
    /// Arguments of the inner call, where it is not the outer.
    pub shifted: [u64; 6],
}

const _: () = assert!(core::mem::size_of::<Frame>().is_multiple_of(16));
const _: () = assert!(core::mem::offset_of!(Frame, call) == 56);

/// How leave gives the thread's word back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Leave {
    /// Nothing was announced.
    Nothing,
    /// The word was this call's: idle now.
    Idle,
    /// The word was an enclosing call's: show that again.
    Outer,
    /// Announced in the shared overflow counter.
    Overflow,
}

impl Frame {
    /// A frame of the library's own, for an entry that no trampoline makes.
    pub fn empty(call: u32) -> Self {
        Frame {
            regs: [0; 6],
            result: 0,
            call,
            _high: 0,
            inner: call as u16,
            leave: Leave::Nothing,
            _pad: [0; 5],
            outer: 0,
            note: [0; 5],
            shifted: [0; 6],
        }
    }

    /// The first of the caller's arguments that do not fit into registers.
    ///
    /// # Safety
    /// The frame must be the trampoline's own: above it lie saved rbp and the
    /// return address, then the arguments.
    pub unsafe fn stack_argument(&self) -> u64 {
        const SAVED: usize = 2;
        let above = core::mem::size_of::<Frame>() / size_of::<u64>() + SAVED;
        // SAFETY: see above; the caller's frame is always readable there.
        unsafe { *(self as *const Frame).cast::<u64>().wrapping_add(above) }
    }

    /// Argument `n` of the inner call.
    #[inline(always)]
    pub fn arg(&self, n: u8) -> u64 {
        let args = if self.inner as u32 == self.call { &self.regs } else { &self.shifted };
        // Rules name arguments 0 to 5.
        args[(n as usize) % 6]
    }

    /// The result as an int.
    pub fn int(&self) -> i32 {
        self.result as i32
    }
}
