//! `call!(NUMBER, arguments...)`: one raw system call, its result as the kernel gives it.

macro_rules! call {
    ($number:expr $(, $arg:expr)*) => {{
        let given: &[usize] = &[$($arg as usize),*];
        let mut args = [0usize; 6];
        args[..given.len()].copy_from_slice(given);
        // SAFETY: the wrappers in `linux` pass pointers to live buffers together with the
        // length of those buffers, a pointer that the kernel itself checks (its callers
        // get EFAULT), or no pointer. None of them unmaps memory that a reference of
        // this library lies in.
        unsafe { crate::arch::instructions::syscall($number as usize, args) }
    }};
}

pub(super) use call;
