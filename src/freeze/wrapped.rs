//! The snapshot command: started, waited for, told to stop.
//!
//! It and its children are never gated: they would wait for themselves.

use crate::evidence::watching::Watching;
use crate::freeze::preload;
use crate::linux::clock;
use crate::linux::poll;
use crate::linux::priority::Priority;
use crate::linux::process::{kill, pidfd_open};
use crate::linux::signals::Signals;
use crate::outcome::exit;
use crate::outcome::fault::{self, Fault, Result};
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// How often it is looked whether it has ended, once it was told to stop at the limit, ms.
const LATE_LOOK_MS: u64 = 200;
/// The same before, where it cannot be waited for by a descriptor (old kernels), and where it can.
const BLIND_LOOK_MS: u64 = 5;
const LOOK_MS: u64 = 1000;
/// It is given so long to stop when it is told to, ...
const STOPS_WITHIN_NS: u64 = 5_000_000_000;
/// ... and looked at so often meanwhile.
const STOP_LOOK_NS: u64 = 10_000_000;

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

/// Could it be run? Asked before anything is held for it.
pub fn check(command: &[OsString]) -> Result<()> {
    let Some(program) = command.first().map(Path::new) else { return Ok(()) };
    let places: Vec<PathBuf> = if program.components().count() > 1 || program.has_root() {
        vec![program.into()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        std::env::split_paths(&path).map(|dir| dir.join(program)).collect()
    };
    let found: Vec<&PathBuf> = places.iter().filter(|place| place.exists()).collect();
    let executable =
        |place: &&PathBuf| place.is_file() && access(place.as_path(), AccessFlags::X_OK).is_ok();
    if found.iter().any(executable) {
        return Ok(());
    }
    let (code, why) = match found.is_empty() {
        true => (fault::NOT_FOUND, "not found"),
        false => (fault::NOT_EXECUTABLE, "not executable"),
    };
    let mut what = format!("cannot run {}: {why}; nothing was held", program.display());
    if found.is_empty() {
        what += in_quotes(program);
    }
    Err(Fault::new(code, what))
}

/// Words that only a shell understands, and that a line of several commands often begins with.
const OF_THE_SHELL: [&str; 14] = [
    "cd", "source", ".", "export", "umask", "ulimit", "eval", "set", "exec", "if", "for", "while",
    "{", "(",
];

/// What is most likely meant by a program whose name has blanks, or that is a word of the shell.
pub fn in_quotes(program: &Path) -> &'static str {
    let name = program.to_string_lossy();
    if OF_THE_SHELL.contains(&&*name) {
        return ". That is a word of the shell: sh -c 'cd DIR && COMMAND'";
    }
    match name.contains(' ') {
        true => {
            ". A program and its arguments are words of their own: without the quotes, or sh -c '...'"
        }
        false => "",
    }
}

/// Starts it, as urgent as we were when we were started.
pub fn start(command: &[OsString], about: &About, priority: Priority) -> Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Fault::new(fault::USAGE, "no command given"))?;
    let mut run = Command::new(program);
    run.args(arguments)
        .env("WRITEGATE_GATE", &about.gates)
        .env("WRITEGATE_TOKEN", &about.token)
        .env("WRITEGATE_DEADLINE", &about.deadlines);
    if let Some(value) = std::env::var_os("LD_PRELOAD") {
        match preload::without_us(&value.to_string_lossy()) {
            Some(others) => run.env("LD_PRELOAD", others),
            None => run.env_remove("LD_PRELOAD"),
        };
    }
    priority.spawn(&mut run).map_err(|e| {
        let code = match e.kind() {
            std::io::ErrorKind::NotFound => fault::NOT_FOUND,
            _ => fault::NOT_EXECUTABLE,
        };
        Fault::new(
            code,
            format!("cannot run {}: {e}{}", program.to_string_lossy(), fault::too_many(&e)),
        )
    })
}

/// Waits for it. At `deadline` it is told to stop if `kill_late`, and waited for
/// all the same: it may be half-way through making a snapshot.
pub fn wait(
    mut child: Child,
    deadline: u64,
    kill_late: bool,
    signals: &Signals,
    evidence: &mut impl Watching,
) -> Result<End> {
    let handle = pidfd_open(child.id() as i32).ok();
    signals.stop_with_us(child.id() as i32);
    let mut late = false;
    loop {
        let failed = |e| Fault::io("cannot wait for the command", &e);
        if let Some(status) = child.try_wait().map_err(failed)? {
            signals.stop_with_us(0);
            return Ok(End::Exited(status));
        }
        if let Some(signal) = signals.received() {
            return Ok(End::Signal(signal, child));
        }
        let now = clock::now_ns();
        if now >= deadline && !late {
            late = true;
            if kill_late {
                kill(child.id() as i32, Signal::SIGTERM);
            }
        }
        let left_ms = if late { LATE_LOOK_MS } else { (deadline - now) / 1_000_000 + 1 };
        evidence.meanwhile();
        let mut fds = vec![signals.fd()];
        fds.extend(evidence.fds());
        fds.extend(handle.as_ref().map(|fd| fd.as_fd()));
        let most = if handle.is_some() { LOOK_MS } else { BLIND_LOOK_MS };
        poll::wait(&fds, &evidence.urgent_fds(), left_ms.min(most));
    }
}

/// Told to stop after the thaw, because we were: SIGTERM, then SIGKILL.
pub fn stop(child: &mut Child) -> u8 {
    kill(child.id() as i32, Signal::SIGTERM);
    let until = clock::now_ns() + STOPS_WITHIN_NS;
    while clock::now_ns() < until {
        if let Ok(Some(status)) = child.try_wait() {
            return code(status);
        }
        clock::sleep_ns(STOP_LOOK_NS);
    }
    let _ = child.kill();
    child.wait().map_or(1, code)
}

/// Its exit code as a shell would give it.
pub fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => exit::by_signal(signal),
        _ => 1,
    }
}
