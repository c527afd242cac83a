//! After the real `dlsym`.
//!
//! Who looks a call up in libc's own handle (Python's `ctypes.CDLL("libc.so.6")`, P/Invoke, JNA) asks
//! behind the preload, and would go past the gate.

use crate::resolve;
use crate::this_process::state::{MODE, UNGATED};
use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering::Acquire;
use gate::calls::Call;

/// Before the library's start.
pub unsafe extern "C" fn writegate_resolve() {
    resolve::look_ups();
    if !resolve::is_known(Call::dlsym as u32) {
        resolve::all();
    }
}

/// What the program is given for `found`: the export of that name, if `found` is libc's own.
///
/// # Safety
/// `name` is what the program has passed to `dlsym`, which has found something by it.
pub unsafe extern "C" fn writegate_looked_up(
    found: usize,
    name: *const c_char,
    caller: usize,
) -> usize {
    if found == 0 || name.is_null() || MODE.load(Acquire) == UNGATED {
        return found;
    }
    // SAFETY: the real function has just read it as a C string.
    let name = unsafe { CStr::from_ptr(name) };
    resolve::look_up::stands_for(found, name.to_bytes(), caller).unwrap_or(found)
}
