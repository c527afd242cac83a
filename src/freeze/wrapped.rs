//! The snapshot command: started, waited for, told to stop.
//!
//! It and its children are never gated: they would wait for themselves.

use crate::drive::engine::Session;
use crate::evidence::Evidence;
use crate::linux::signals;
use crate::linux::sys::{self, Pace};
use crate::outcome::fault::{self, Fault, Result};
use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// What the command is told about the freeze.
pub struct About {
    /// Names of the gates, joined by commas.
    pub gates: String,
    /// The token.
    pub token: String,
    /// Deadline: the barrier words, CLOCK_MONOTONIC ns, joined by commas.
    pub deadlines: String,
}

/// How it ended.
pub enum End {
    /// By itself, or after it was told to stop at the limit.
    Exited(ExitStatus),
    /// A signal came to us; it still runs.
    Signal(i32, Child),
}

/// `LD_PRELOAD` without our library; None: nothing is left.
pub fn preload_without_us(value: &str) -> Option<String> {
    let others: Vec<&str> = value
        .split([':', ' '])
        .filter(|part| !part.is_empty() && !part.ends_with("libwritegate.so"))
        .collect();
    (!others.is_empty()).then(|| others.join(":"))
}

/// Could it be run? Asked before anybody is held for it.
pub fn check(command: &[OsString]) -> Result<()> {
    let Some(program) = command.first().map(Path::new) else { return Ok(()) };
    let places: Vec<PathBuf> = if program.components().count() > 1 || program.has_root() {
        vec![program.into()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        std::env::split_paths(&path).map(|dir| dir.join(program)).collect()
    };
    let found: Vec<&PathBuf> = places.iter().filter(|place| place.exists()).collect();
    let executable = |place: &&PathBuf| {
        let path = sys::c_path(place);
        // SAFETY: a C string.
        place.is_file() && unsafe { libc::access(path.as_ptr(), libc::X_OK) } == 0
    };
    if found.iter().any(executable) {
        return Ok(());
    }
    let (code, why) = match found.is_empty() {
        true => (fault::NOT_FOUND, "not found"),
        false => (fault::NOT_EXECUTABLE, "not executable"),
    };
    let what = format!("cannot run {}: {why}; nothing was held", program.display());
    Err(Fault::new(code, what))
}

/// Starts it, as urgent as we were when we were started.
pub fn start(command: &[OsString], about: &About, pace: Pace) -> Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Fault::new(fault::USAGE, "no command given"))?;
    let mut run = Command::new(program);
    run.args(arguments)
        .env("WRITEGATE_GATE", &about.gates)
        .env("WRITEGATE_TOKEN", &about.token)
        .env("WRITEGATE_DEADLINE", &about.deadlines);
    if let Some(preload) = std::env::var_os("LD_PRELOAD") {
        match preload_without_us(&preload.to_string_lossy()) {
            Some(others) => run.env("LD_PRELOAD", others),
            None => run.env_remove("LD_PRELOAD"),
        };
    }
    // SAFETY: only system calls are made between fork and exec.
    unsafe {
        run.pre_exec(move || {
            pace.resume();
            signals::unblock_in_child()
        })
    };
    run.spawn().map_err(|e| {
        let code = match e.kind() {
            std::io::ErrorKind::NotFound => fault::NOT_FOUND,
            _ => fault::NOT_EXECUTABLE,
        };
        Fault::new(code, format!("cannot run {}: {e}", program.to_string_lossy()))
    })
}

/// Waits for it. At `deadline` it is told to stop if `kill_late`, and waited for
/// all the same: it may be half-way through making a snapshot.
pub fn wait(
    mut child: Child,
    deadline: u64,
    kill_late: bool,
    session: &mut Session,
    evidence: &mut Evidence,
) -> Result<End> {
    let handle = sys::pidfd_open(child.id() as i32).ok();
    let mut late = false;
    loop {
        let failed = |e| Fault::io("cannot wait for the command", &e);
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(End::Exited(status));
        }
        if let Some(signal) = session.signals.came() {
            return Ok(End::Signal(signal, child));
        }
        let now = sys::now_ns();
        if now >= deadline && !late {
            late = true;
            if kill_late {
                sys::kill(child.id() as i32, libc::SIGTERM);
            }
        }
        let left_ms = if late { 200 } else { (deadline - now) / 1_000_000 + 1 };
        let more = evidence.meanwhile(session);
        let mut fds = vec![session.signals.fd()];
        fds.extend(evidence.fds());
        fds.extend(handle.as_ref().map(|fd| fd.as_raw_fd()));
        let most = if handle.is_some() { 1000 } else { 5 };
        sys::wait_readable(&fds, if more { 0 } else { left_ms.min(most) as i32 });
    }
}

/// Told to stop after the thaw, because we were: SIGTERM, then SIGKILL.
pub fn stop(child: &mut Child) -> u8 {
    sys::kill(child.id() as i32, libc::SIGTERM);
    let until = sys::now_ns() + 5_000_000_000;
    while sys::now_ns() < until {
        if let Ok(Some(status)) = child.try_wait() {
            return code(status);
        }
        sys::sleep_ns(10_000_000);
    }
    let _ = child.kill();
    child.wait().map_or(1, code)
}

/// Its exit code as a shell would give it.
pub fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128 + signal as u8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::preload_without_us;

    #[test]
    fn the_command_keeps_other_preloads() {
        let both = "/usr/lib/libwritegate.so:/usr/lib/libother.so";
        assert_eq!(preload_without_us(both).as_deref(), Some("/usr/lib/libother.so"));
        assert_eq!(preload_without_us("/x/libwritegate.so"), None);
    }
}
