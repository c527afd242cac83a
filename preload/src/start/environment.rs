//! What the environment says, as far as it may be believed.

use crate::resolve::libc::{ENVIRON, auxiliary};
use crate::text::c_string;
use linux_raw_sys::auxvec::AT_SECURE;

/// In LD_PRELOAD: this library, in whatever directory and version.
const LIBRARY: &[u8] = b"libwritegate.";

/// What the environment says, as far as it may be believed.
pub struct Environment {
    pub gate: &'static [u8],
    pub dir: &'static [u8],
    pub paths: &'static [u8],
    pub exclude: &'static [u8],
    pub config: &'static [u8],
    pub token: &'static [u8],
    /// The gate was asked for by name, or the library by LD_PRELOAD: it may make
    /// the control page. One that /etc/ld.so.preload has put into every process
    /// may not.
    pub asked_for: bool,
}

/// Reads it.
pub fn read() -> Environment {
    let mut env = Environment {
        gate: b"default",
        dir: b"/run/writegate",
        paths: b"",
        exclude: b"",
        config: b"",
        token: b"",
        asked_for: false,
    };
    // Set-id programs believe no variable.
    if auxiliary(AT_SECURE) != Some(0) {
        return env;
    }
    let mut at = ENVIRON.value() as *const *const u8;
    if at.is_null() {
        return env;
    }
    // SAFETY: `environ` is a null-terminated array of C strings. It is read while the loader
    // or the first hooked call starts the library; what is kept of it points to strings that
    // the start alone uses.
    unsafe {
        while !(*at).is_null() {
            let entry = c_string(*at);
            at = at.add(1);
            let set = |name: &[u8]| entry.strip_prefix(name).filter(|value| !value.is_empty());
            if let Some(value) = set(b"WRITEGATE_GATE=") {
                env.gate = value;
                env.asked_for = true;
            } else if let Some(value) = set(b"WRITEGATE_DIR=") {
                env.dir = value;
            } else if let Some(value) = set(b"WRITEGATE_PATHS=") {
                env.paths = value;
            } else if let Some(value) = set(b"WRITEGATE_EXCLUDE=") {
                env.exclude = value;
            } else if let Some(value) = set(b"WRITEGATE_CONF=") {
                env.config = value;
            } else if let Some(value) = set(b"WRITEGATE_TOKEN=") {
                env.token = value;
            } else if let Some(value) = set(b"LD_PRELOAD=") {
                env.asked_for |= value.windows(LIBRARY.len()).any(|part| part == LIBRARY);
            }
        }
    }
    env
}
