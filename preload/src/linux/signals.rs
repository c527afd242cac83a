//! No signal handler of the program's while a descriptor of the library's is open: a handler that
//! never comes back (siglongjmp, a cancellation) would leave it open for good.

use super::call::call;
use core::marker::PhantomData;
use linux_raw_sys::general as nr;

/// As long as this lives, this thread takes no signals; those that come meanwhile are delivered then.
/// Who opens something asks for it.
pub struct Blocked {
    /// The mask from before; none: it could not be changed.
    before: Option<u64>,
    /// It is this thread's mask.
    _thread: PhantomData<*const ()>,
}

impl Blocked {
    /// At the start, where no handler can leave: a filter may kill for the call.
    pub fn not_at_the_start() -> Blocked {
        Blocked { before: None, _thread: PhantomData }
    }

    pub fn all() -> Blocked {
        let all = u64::MAX;
        let mut before = 0u64;
        let (size, how) = (size_of::<u64>(), nr::SIG_SETMASK);
        let result = call!(nr::__NR_rt_sigprocmask, how, &raw const all, &raw mut before, size);
        Blocked { before: (result == 0).then_some(before), _thread: PhantomData }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let (size, how) = (size_of::<u64>(), nr::SIG_SETMASK);
            call!(nr::__NR_rt_sigprocmask, how, &raw const before, 0, size);
        }
    }
}
