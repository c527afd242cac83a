//! The command that asks for a token: it starts the keeper and waits for what that says.
//!
//! A signal that would end it goes to the keeper, which opens the gate. Only then, or when the keeper
//! has had its time for that, does the command end: who waits for its end finds nobody held.

use crate::freeze::keeper::{Started, keep};
use crate::freeze::options::Options;
use crate::linux::clock;
use crate::linux::ending::Waiting;
use crate::linux::fork;
use crate::linux::poll::{readable, wait_readable};
use crate::outcome::exit;
use crate::outcome::fault::{CONFIG, Fault, Result};
use crate::outcome::verdict::Verdict;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::CStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// As the kernel shows the keeper.
const NAME: &CStr = c"writegate-keep";
/// A keeper that is told to end has opened the gate and ended after some 90 ms, whatever it was at
/// ([`crate::linux::signals`]); after this time nobody waits for it.
const ENDS_WITHIN_NS: u64 = 95_000_000;
/// How often it is asked whether the keeper has ended.
const ASKED_EVERY_NS: u64 = 1_000_000;
/// Longest sleep at a time.
const NAP_NS: u64 = 1_000_000_000;

/// A keeper that was started.
pub struct Caller {
    keeper: Pid,
    signals: Waiting,
    /// The first signal that came, and when.
    signal: Option<(Signal, u64)>,
}

/// Starts a keeper and waits for what it says.
pub fn start(options: Options) -> Result<(Started, Caller)> {
    let (ours, theirs) = UnixStream::pair()
        .map_err(|e| Fault::new(CONFIG, format!("no socket for the keeper: {e}")))?;
    let signals = Waiting::block().map_err(Fault::signals)?;
    let keeper = fork::child(|| {
        signals.leave_in_child();
        fork::leave_parent(NAME, theirs.as_fd());
        keep(options, theirs);
    })
    .map_err(|_| Fault::new(CONFIG, "cannot start the keeper"))?;
    let mut caller = Caller { keeper: Pid::from_raw(keeper), signals, signal: None };
    let text = caller.answer(ours);
    match text.and_then(|text| serde_json::from_slice(&text).ok()) {
        // Nobody has its token yet.
        Some(Started::Frozen { .. }) | None if caller.has_signal() => Err(caller.interrupted()),
        Some(started) => Ok((started, caller)),
        None => {
            Err(Fault::new(CONFIG, "the keeper died before the gate was frozen; nothing is held"))
        }
    }
}

impl Caller {
    /// The exit code, when all has been said: that of a frozen gate only if it stays so.
    pub fn end(mut self, answer: &Started) -> Result<u8> {
        match answer {
            Started::Frozen { .. } if self.has_signal() => Err(self.interrupted()),
            Started::Frozen { .. } => Ok(0),
            Started::Not(record) if record.verdict == Verdict::Interrupted => Ok(self.by_signal()),
            Started::Not(record) => Ok(record.verdict.code()),
            Started::Failed { code, .. } => Ok(*code),
        }
    }

    /// What the keeper says, to its end. None: it did not end within its time after a signal.
    fn answer(&mut self, mut link: UnixStream) -> Option<Vec<u8>> {
        let (mut text, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let left = match self.signal {
                Some((_, at)) => (at + ENDS_WITHIN_NS).checked_sub(clock::now_ns())?,
                None => NAP_NS,
            };
            let mut fds = vec![link.as_fd()];
            // It stays readable when more of them come.
            if self.signal.is_none() {
                fds.push(self.signals.fd());
            }
            wait_readable(&fds, left.div_ceil(1_000_000));
            let is_ready = readable(&fds)[0];
            self.has_signal();
            if is_ready {
                match link.read(&mut part) {
                    Ok(0) | Err(_) => return Some(text),
                    Ok(got) => text.extend_from_slice(&part[..got]),
                }
            }
        }
    }

    /// Did one come? The first is passed on.
    fn has_signal(&mut self) -> bool {
        if self.signal.is_none()
            && let Some(signal) = self.signals.taken()
        {
            self.signal = Some((signal, clock::now_ns()));
            // It has not been waited for: its number is nobody else's.
            let _ = kill(self.keeper, signal);
        }
        self.signal.is_some()
    }

    /// Waits until the keeper has ended, which it has been told.
    fn interrupted(&self) -> Fault {
        let until = self.signal.map_or(0, |(_, at)| at + ENDS_WITHIN_NS);
        while !self.has_ended() {
            if clock::now_ns() >= until {
                return Fault::new(
                    self.by_signal(),
                    "interrupted; the keeper was told to open the gate and has not ended yet (is it \
                     stopped?). Nobody is held beyond the limit",
                );
            }
            clock::sleep_ns(ASKED_EVERY_NS);
        }
        Fault::new(self.by_signal(), "interrupted; nothing is held")
    }

    fn has_ended(&self) -> bool {
        waitpid(self.keeper, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive)
    }

    /// The exit code of one that a signal has ended; of the keeper alone where none came here.
    fn by_signal(&self) -> u8 {
        exit::by_signal(self.signal.map_or(Signal::SIGTERM, |(signal, _)| signal) as i32)
    }
}
