//! The keeper: who holds a freeze between `freeze` and `thaw`.
//!
//! A child of `freeze` that lives for this one freeze. It holds the gate's lock,
//! the mapped regions and the evidence, opens at the deadline by itself, and hands
//! the record to whoever comes with the token. What became of the freeze stays in
//! `NAME/last`, so that a thaw that comes late, or twice, gets an answer.

use crate::drive::engine::Ended;
use crate::freeze::token::Token;
use crate::freeze::{Freeze, Options};
use crate::linux::sys;
use crate::outcome::fault::{self, CONFIG, Fault, Result};
use crate::outcome::report::Record;
use crate::outcome::syslog;
use crate::outcome::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the keeper tells the `freeze` that started it.
#[derive(Serialize, Deserialize)]
pub enum Started {
    /// It stands: here is the token.
    Frozen {
        /// Token.
        token: String,
        /// What was said meanwhile.
        notes: Vec<String>,
    },
    /// It does not.
    Not(Box<Record>),
    /// It could not even begin.
    Failed {
        /// Exit code.
        code: u8,
        /// Message.
        message: String,
    },
}

/// What is left of a freeze for a thaw that comes late.
#[derive(Serialize, Deserialize)]
pub struct Last {
    /// Its token.
    pub token: String,
    /// What became of it.
    pub record: Record,
    /// A thaw has been told.
    pub told: bool,
}

/// The keeper's socket of a gate.
pub fn socket_path(gate_dir: &Path) -> PathBuf {
    gate_dir.join("keeper")
}

/// Where the last record of a gate lies.
pub fn last_path(gate_dir: &Path) -> PathBuf {
    gate_dir.join("last")
}

/// Starts a keeper and waits for what it says.
pub fn start(options: Options) -> Result<Started> {
    let (mut ours, theirs) = UnixStream::pair()
        .map_err(|e| Fault::new(CONFIG, format!("no socket for the keeper: {e}")))?;
    // SAFETY: nothing else runs in this process; the child uses its own copy.
    match unsafe { libc::fork() } {
        0 => {
            drop(ours);
            // By number from here on: it is about to get another.
            stand_apart(std::os::fd::IntoRawFd::into_raw_fd(theirs));
        }
        pid if pid > 0 => {
            drop(theirs);
            let mut text = String::new();
            let read = ours.read_to_string(&mut text);
            return read.ok().and_then(|_| serde_json::from_str(&text).ok()).ok_or_else(|| {
                Fault::new(CONFIG, "the keeper died before the gate was frozen; nothing is held")
            });
        }
        _ => return Err(Fault::new(CONFIG, "cannot start the keeper")),
    }
    // The child goes on here, its standard streams gone and the link at 3.
    // SAFETY: `stand_apart` has put the link there.
    let link: UnixStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(LINK) };
    keep(options, link);
    // SAFETY: ends the child without running what belongs to its parent.
    unsafe { libc::_exit(0) }
}

const LINK: i32 = 3;

/// A process of its own: no terminal, no working directory, no borrowed stream.
fn stand_apart(link: RawFd) {
    // SAFETY: descriptors are numbers; what is closed is not used here.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..3 {
            libc::dup2(null, fd);
        }
        if link != LINK {
            libc::dup2(link, LINK);
        }
        libc::fcntl(LINK, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::syscall(libc::SYS_close_range, LINK + 1, u32::MAX, 0);
        libc::prctl(libc::PR_SET_NAME, c"writegate-keep".as_ptr());
    }
}

fn tell(mut link: UnixStream, told: &Started) -> bool {
    let text = serde_json::to_vec(told).unwrap_or_default();
    link.write_all(&text).is_ok()
}

/// The keeper's life.
fn keep(options: Options, link: UnixStream) {
    let failed = |fault: Fault| Started::Failed { code: fault.code, message: fault.message };
    let (asked, asked_at) = (options.clone(), sys::now_ns());
    let mut freeze = match Freeze::prepare(options) {
        Ok(freeze) => freeze,
        Err(fault) => {
            let told = match Freeze::never_begun(&asked, asked_at, &fault) {
                Some(record) => {
                    syslog::freeze(&record);
                    Started::Not(Box::new(record))
                }
                None => failed(fault),
            };
            tell(link, &told);
            return;
        }
    };
    let dir = freeze.session.gates[0].dir.clone();
    // The socket is there before anything is held: its directory may lie on the
    // disk whose writers will be.
    let listener = match listen(&dir) {
        Ok(listener) => listener,
        Err(fault) => {
            tell(link, &failed(fault));
            return;
        }
    };
    let ended = freeze.begin();
    if ended != Ended::Drained {
        let _ = fs::remove_file(socket_path(&dir));
        let verdict = match ended {
            Ended::Interrupted(_) => Verdict::Interrupted,
            Ended::NotQuiet => Verdict::NotQuiet,
            _ => Verdict::NotDrained,
        };
        let record = freeze.record_all(verdict, None);
        syslog::freeze(&record);
        tell(link, &Started::Not(Box::new(record)));
        return;
    }
    let token = Token {
        gates: freeze.session.gates.iter().map(|g| g.name.clone()).collect(),
        deadlines: freeze.runs.iter().map(crate::drive::run::Run::deadline).collect(),
        nonce: Token::fresh_nonce(),
    };
    let frozen = Started::Frozen { token: token.to_string(), notes: freeze.notes.clone() };
    if !tell(link, &frozen) {
        // Nobody is left who could ever thaw: hold nobody for nothing.
        freeze.thaw();
        let _ = fs::remove_file(socket_path(&dir));
        return;
    }
    let caller = wait_for_thaw(&mut freeze, &listener, &token);
    let thawed = freeze.thaw();
    let _ = fs::remove_file(socket_path(&dir));
    let mut record = freeze.record(&thawed, None);
    record.token = Some(token.to_string());
    let mut last = Last { token: token.to_string(), record, told: caller.is_some() };
    // Before the answer: whoever has it may come again at once.
    write_last(&dir, &last);
    if let Some(mut stream) = caller {
        let text = serde_json::to_vec(&last.record).unwrap_or_default();
        if stream.write_all(&text).is_err() {
            last.told = false;
            write_last(&dir, &last);
        }
    }
    syslog::freeze(&last.record);
}

/// Leaves word for a thaw to come.
pub fn write_last(dir: &Path, last: &Last) {
    let beside = dir.join(format!(".last.{}", std::process::id()));
    let text = serde_json::to_vec(last).unwrap_or_default();
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)))
        .and_then(|()| fs::rename(&beside, last_path(dir)));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
}

fn listen(dir: &Path) -> Result<UnixListener> {
    let path = socket_path(dir);
    // We hold the gate's lock: whoever left it is dead.
    let _ = fs::remove_file(&path);
    let failed = |e| Fault::io(format!("cannot make {}", path.display()), &e);
    // SAFETY: takes a number.
    let before = unsafe { libc::umask(0o177) };
    let bound = UnixListener::bind(&path);
    // SAFETY: takes a number.
    unsafe { libc::umask(before) };
    let listener = bound.map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Waits for the token, the deadline or a signal.
fn wait_for_thaw(
    freeze: &mut Freeze,
    listener: &UnixListener,
    token: &Token,
) -> Option<UnixStream> {
    loop {
        let now = sys::now_ns();
        let deadline = freeze.deadline();
        if now >= deadline || freeze.session.signals.came().is_some() {
            return None;
        }
        let more = freeze.evidence.meanwhile(&freeze.session);
        let ms = if more { 0 } else { ((deadline - now) / 1_000_000).min(1000) as i32 + 1 };
        let mut fds = vec![listener.as_raw_fd(), freeze.session.signals.fd()];
        fds.extend(freeze.evidence.fds());
        sys::wait_readable(&fds, ms);
        if let Ok((stream, _)) = listener.accept()
            && let Some(stream) = asks_for(stream, token)
        {
            return Some(stream);
        }
    }
}

/// Does this caller show the token? Started so if not.
fn asks_for(mut stream: UnixStream, token: &Token) -> Option<UnixStream> {
    stream.set_nonblocking(false).ok()?;
    // Whoever says nothing must not keep the gate closed.
    stream.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut line = [0u8; 1024];
    let got = stream.read(&mut line).ok()?;
    let text = std::str::from_utf8(&line[..got]).ok()?;
    if text.trim() == token.to_string() {
        return Some(stream);
    }
    let _ = stream.write_all(b"{}");
    None
}

/// Asks the keeper to thaw. None: there is no keeper, or it is not this token's.
pub fn ask(dir: &Path, token: &Token) -> Option<Record> {
    let mut stream = UnixStream::connect(socket_path(dir)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(format!("{token}\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// What the keeper of this token left, if it did.
pub fn last(dir: &Path, token: &Token) -> Option<Last> {
    let text = fs::read_to_string(last_path(dir)).ok()?;
    let last: Last = serde_json::from_str(&text).ok()?;
    (last.token == token.to_string()).then_some(last)
}

/// The exit code of a keeper's answer.
pub fn code(told: &Started) -> u8 {
    match told {
        Started::Frozen { .. } => 0,
        Started::Not(record) if record.verdict == Verdict::Interrupted => 128 + libc::SIGTERM as u8,
        Started::Not(_) => fault::NOT_DRAINED,
        Started::Failed { code, .. } => *code,
    }
}
