//! Which program this is: is it gated, and what does the profile say of it?

use super::environment::Environment;
use crate::linux::files::executable;
use crate::resolve::libc::auxiliary;
use crate::text::{self, c_string};
use core::sync::atomic::Ordering::Acquire;
use gate::control::ControlPage;
use gate::profile::{self, Key};
use linux_raw_sys::auxvec::AT_EXECFN;

/// The freezer's own command must not wait for the freezer. Believed only while
/// the marker names the present generation.
pub fn is_freezers_child(env: &Environment, control: &ControlPage) -> bool {
    let mut parts = env.token.split(|c| *c == b':');
    let (Some(gate), Some(generation)) = (parts.next(), parts.next()) else { return false };
    let barrier = control.barrier.load(Acquire);
    gate == env.gate
        && barrier != 0
        && text::number(generation).is_some_and(|(value, _)| value == barrier)
}

fn names(text: &str, key: Key, program: &[u8]) -> bool {
    profile::values(text, key).any(|pattern| profile::glob(pattern.as_bytes(), program))
}

/// With /etc/ld.so.preload every program comes here; a profile may name those
/// that are meant.
pub fn is_gated(text: &str) -> bool {
    profile::values(text, Key::Program).next().is_none()
        || names(text, Key::Program, executable().bytes())
}

/// With /etc/ld.so.preload the freezer comes here too: gated, it would be one of those
/// that it waits for.
pub fn is_the_command() -> bool {
    let name = auxiliary(AT_EXECFN).unwrap_or(0) as *const u8;
    // SAFETY: the name that the program was executed by, a C string that the kernel has put
    // on the first stack, which lasts as long as the process; or null.
    let name = unsafe { c_string(name) };
    name.rsplit(|c| *c == b'/').next() == Some(b"writegate")
}

/// What the profile says of this program.
pub fn flags(text: &str) -> u32 {
    let given = |key: Key| profile::values(text, key).next().is_some();
    let mut flags = if given(Key::Parkable) { Key::Parkable.flag() } else { 0 };
    let habits = || profile::KEYS.iter().map(|(_, key)| *key).filter(|key| key.is_habit());
    if !habits().any(given) {
        return flags;
    }
    let program = executable();
    for key in habits() {
        if names(text, key, program.bytes()) {
            flags |= key.flag();
        }
    }
    flags
}
