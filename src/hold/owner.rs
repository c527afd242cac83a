//! The freezer's side of the tracer: starts it before anything is held, asks, and waits no longer than
//! it must.

use crate::hold::lock_files::LockFiles;
use crate::hold::protocol::{Ask, Plan, Tell};
use crate::hold::report::{End, Released, Report};
use crate::hold::selection::Selection;
use crate::hold::tracer;
use crate::linux::helper::owner::Helper;
use crate::linux::poll::wait_readable;
use crate::linux::process::{abandon_child, kill, reap_child};
use crate::linux::{clock, fork};
use nix::sys::signal::Signal;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The tracer is given so long to begin.
const STARTS_WITHIN_NS: u64 = 10_000_000_000;
/// It gives up by itself; when that is so long ago it is ended.
const LATE_NS: u64 = 200_000_000;
/// It is given so long to let all go.
const RELEASES_WITHIN_NS: u64 = 1_000_000_000;
/// How often it is looked whether we are to stop waiting, ms.
const LOOK_MS: u64 = 10;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoAnswer {
    /// We were told to stop waiting.
    Stopped,
    /// It has not answered in time, or is gone.
    Gone,
}

/// The tracer, as its owner sees it. It is ended when this goes out of scope, and with that all whom
/// it holds run.
pub struct Tracer {
    link: UnixStream,
    said: Vec<u8>,
    pid: i32,
}

impl Tracer {
    /// Starts one. Nothing is held yet.
    pub fn start(plan: Plan) -> io::Result<Tracer> {
        let (ours, theirs) = UnixStream::pair()?;
        let owner = std::process::id() as i32;
        let pid = fork::child(move || tracer::run(theirs.into(), owner, plan))?;
        let mut tracer = Tracer { link: ours, said: Vec::new(), pid };
        match tracer.answer(clock::now_ns() + STARTS_WITHIN_NS, &|| false) {
            Ok(Tell::Ready) => Ok(tracer),
            _ => Err(io::Error::other("the tracer did not start")),
        }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Brings all to rest, at a moment at which no lock file is there.
    pub fn hold(
        &mut self,
        selection: &Selection,
        (until, deadline): (u64, u64),
        (lock_files, helper): (&LockFiles, &mut Helper),
        stop: &dyn Fn() -> bool,
    ) -> Result<Report, NoAnswer> {
        self.ask(&Ask::Hold { selection: selection.clone(), until, deadline })?;
        let mut was_in_the_way = None;
        loop {
            let Tell::Held(mut report) = self.answer(until + LATE_NS, stop)? else {
                return Err(NoAnswer::Gone);
            };
            if report.end != End::AtRest {
                // Who was not yet at rest again when the time was up is not what the time went for.
                report.not_held.splice(..0, was_in_the_way);
                return Ok(report);
            }
            let held = report.held.iter().map(|held| held.pid);
            let Some(in_the_way) = lock_files.in_the_way(held, helper) else {
                return Ok(report);
            };
            if clock::now_ns() >= until {
                report.end = End::UnderLock;
                report.not_held.push(in_the_way);
                return Ok(report);
            }
            was_in_the_way = Some(in_the_way);
            self.ask(&Ask::Again)?;
        }
    }

    /// Lets all go.
    pub fn release(&mut self) -> Result<Released, NoAnswer> {
        self.ask(&Ask::Release)?;
        match self.answer(clock::now_ns() + RELEASES_WITHIN_NS, &|| false)? {
            Tell::Released(released) => Ok(released),
            _ => Err(NoAnswer::Gone),
        }
    }

    fn ask(&mut self, what: &Ask) -> Result<(), NoAnswer> {
        let mut line = serde_json::to_vec(what).unwrap_or_default();
        line.push(b'\n');
        // Rust ignores SIGPIPE: one that is gone is an error.
        self.link.write_all(&line).map_err(|_| NoAnswer::Gone)
    }

    fn answer(&mut self, until: u64, stop: &dyn Fn() -> bool) -> Result<Tell, NoAnswer> {
        loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|_| NoAnswer::Gone);
            }
            if stop() {
                return Err(NoAnswer::Stopped);
            }
            if clock::now_ns() >= until {
                return Err(NoAnswer::Gone);
            }
            if !wait_readable(&[self.link.as_fd()], LOOK_MS) {
                continue;
            }
            let mut part = [0; 65536];
            match self.link.read(&mut part) {
                Ok(len) if len > 0 => self.said.extend_from_slice(&part[..len]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(NoAnswer::Gone),
            }
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        abandon_child(self.pid);
        reap_child(self.pid);
    }
}

/// Ends a tracer from beside its owner: all whom it holds run.
pub fn end(pid: i32) {
    kill(pid, Signal::SIGKILL);
}
