//! Does a program start under this library? One whose symbols do not resolve ends every program that
//! is to load it, and a server that is restarted under it does not come back.

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::process::{Command, Stdio};

/// A program that every system has and that does nothing.
const PROGRAM: &str = "/bin/true";

/// Tries it; refuses the library if the program does not end well, or its loader complains.
pub fn check(library: &str) -> Result<()> {
    let tried = Command::new(PROGRAM)
        .env_clear()
        .env("LD_PRELOAD", library)
        // No gate can be made there: trying leaves nothing behind.
        .env("WRITEGATE_DIR", "/dev/null")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    // Without the program nothing was tried, and nothing is said.
    let Ok(done) = tried else { return Ok(()) };
    if done.status.success() && done.stderr.is_empty() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said.lines().next().map_or_else(|| done.status.to_string(), str::to_owned);
    Err(Fault::new(
        CONFIG,
        format!(
            "{library} does not work here: {PROGRAM} under it says `{said}`. Nothing was changed: no \
             server would start under it. Install the library and this command from one package"
        ),
    ))
}
