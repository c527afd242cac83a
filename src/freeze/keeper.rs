//! The keeper: the process that holds a freeze between `freeze` and `thaw`.
//!
//! A child of `freeze` that lives for this one freeze. It holds the gate's lock,
//! the mapped regions and the evidence, opens at the deadline by itself, and hands
//! the record to the command that comes with the token. What became of the freeze stays in
//! `NAME/last`, so that a thaw that comes late, or twice, gets an answer.

use crate::drive::drain::DrainEnd;
use crate::drive::progress::GateDrain;
use crate::evidence::watching::Watching;
use crate::freeze::attempt::Freeze;
use crate::freeze::last::{self, Last};
use crate::freeze::options::Options;
use crate::freeze::token::Token;
use crate::linux::clock;
use crate::linux::poll;
use crate::linux::signals;
use crate::outcome::fault::{Fault, Result};
use crate::outcome::record::Record;
use crate::outcome::syslog;
use crate::outcome::verdict::Verdict;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A caller is given so long to show its token: one that says nothing must not keep the gate
/// closed.
const CALLER_READS: Duration = Duration::from_millis(100);
/// A caller is given so long to take an answer.
const CALLER_WRITES: Duration = Duration::from_millis(500);
/// A keeper is given so long to thaw.
const THAWS_WITHIN: Duration = Duration::from_secs(30);
/// Longest sleep at a time, ms.
const NAP_MS: u64 = 1000;
/// Everything but reading and writing by the owner is masked.
const OWNER_ONLY: Mode = Mode::from_bits_truncate(0o177);

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

/// The keeper's socket of a gate.
pub fn socket_path(gate_dir: &Path) -> PathBuf {
    gate_dir.join("keeper")
}

fn tell(mut link: &UnixStream, answer: &Started) -> bool {
    let text = serde_json::to_vec(answer).unwrap_or_default();
    let told = link.write_all(&text).is_ok();
    // The end of it, also where another descriptor of the link is watched.
    let _ = link.shutdown(Shutdown::Both);
    told
}

/// The keeper's life.
pub fn keep(options: Options, link: UnixStream) {
    // Until the token is out, the command that asked for it is all that this is for.
    if let Ok(caller) = link.try_clone() {
        signals::end_with_caller(caller.into());
    }
    let Some((mut freeze, listener)) = prepare(options, &link) else { return };
    let dir = freeze.session.gates[0].dir.clone();
    let ended = freeze.begin();
    if ended != DrainEnd::Drained {
        let _ = fs::remove_file(socket_path(&dir));
        let verdict = match ended {
            DrainEnd::Interrupted(_) => Verdict::Interrupted,
            DrainEnd::NotQuiet => Verdict::NotQuiet,
            DrainEnd::NotHeld => freeze.not_held(),
            DrainEnd::NotDrained | DrainEnd::Drained => Verdict::NotDrained,
        };
        let record = freeze.record_all(verdict, None);
        syslog::freeze(&record);
        tell(&link, &Started::Not(Box::new(record)));
        return;
    }
    let token = Token {
        gates: freeze.session.gates.iter().map(|g| g.name.clone()).collect(),
        deadlines: freeze.drains.iter().map(GateDrain::deadline).collect(),
        nonce: Token::fresh_nonce(),
    };
    let frozen = Started::Frozen { token: token.to_string(), notes: freeze.notes.clone() };
    freeze.session.signals.caller_is_served();
    if freeze.is_interrupted() || !tell(&link, &frozen) {
        // No command is left that could ever thaw: hold nothing up for that.
        freeze.thaw();
        let _ = fs::remove_file(socket_path(&dir));
        return;
    }
    let caller = wait_for_thaw(&mut freeze, &listener, &token);
    hand_over(freeze, &dir, &token, caller);
}

/// Everything up to the drain. None: it could not begin, which was told.
fn prepare(options: Options, link: &UnixStream) -> Option<(Freeze, UnixListener)> {
    let failed = |fault: Fault| Started::Failed { code: fault.code, message: fault.message };
    let (asked, asked_at) = (options.clone(), clock::now_ns());
    let freeze = match Freeze::prepare(options) {
        Ok(freeze) => freeze,
        Err(fault) => {
            let answer = match Freeze::never_begun(&asked, asked_at, &fault) {
                Some(record) => {
                    syslog::freeze(&record);
                    Started::Not(Box::new(record))
                }
                None => failed(fault),
            };
            tell(link, &answer);
            return None;
        }
    };
    if let Some(verdict) = freeze.evidence.objection() {
        let record = freeze.record_all(verdict, None);
        syslog::freeze(&record);
        tell(link, &Started::Not(Box::new(record)));
        return None;
    }
    // The socket is there before anything is held: its directory may lie on the
    // disk whose writers will be.
    match listen(&freeze.session.gates[0].dir) {
        Ok(listener) => Some((freeze, listener)),
        Err(fault) => {
            tell(link, &failed(fault));
            None
        }
    }
}

/// Thaws, leaves word, and answers the caller.
fn hand_over(mut freeze: Freeze, dir: &Path, token: &Token, caller: Option<UnixStream>) {
    let thawed = freeze.thaw();
    let mut record = freeze.record(&thawed, None);
    record.token = Some(token.to_string());
    let mut last = Last { token: token.to_string(), record, told: caller.is_some() };
    // Before the answer: a caller that has it may come again at once. Before the socket goes: a
    // thaw that finds neither would call the token unknown.
    last::write(dir, &last);
    let _ = fs::remove_file(socket_path(dir));
    if let Some(mut stream) = caller {
        let text = serde_json::to_vec(&last.record).unwrap_or_default();
        if stream.write_all(&text).is_err() {
            last.told = false;
            last::write(dir, &last);
        }
    }
    syslog::freeze(&last.record);
}

fn listen(dir: &Path) -> Result<UnixListener> {
    let path = socket_path(dir);
    // We hold the gate's lock: the keeper that left it is dead.
    let _ = fs::remove_file(&path);
    let failed = |e| Fault::io(format!("cannot make {}", path.display()), &e);
    let before = umask(OWNER_ONLY);
    let bound = UnixListener::bind(&path);
    umask(before);
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
        let now = clock::now_ns();
        let deadline = freeze.deadline();
        if now >= deadline || freeze.session.signals.received().is_some() {
            return None;
        }
        freeze.evidence.meanwhile();
        let ms = ((deadline - now) / 1_000_000).min(NAP_MS) + 1;
        let mut fds = vec![listener.as_fd(), freeze.session.signals.fd()];
        fds.extend(freeze.evidence.fds());
        poll::wait(&fds, &freeze.evidence.urgent_fds(), ms);
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
    stream.set_read_timeout(Some(CALLER_READS)).ok()?;
    stream.set_write_timeout(Some(CALLER_WRITES)).ok()?;
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
    stream.set_read_timeout(Some(THAWS_WITHIN)).ok()?;
    stream.write_all(format!("{token}\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
