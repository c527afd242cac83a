//! SIGINT, SIGTERM and SIGHUP ([`ending::signals`]): they end a freeze, whatever it is at.
//!
//! They are blocked, so that none ends us with the barrier up, and taken by a thread that does
//! nothing else. It tells the freezer ([`Signals::received`], [`Signals::fd`]) and waits a moment
//! for it to open and end by itself. A freezer that is stuck (a look at a process on a dead disk,
//! a flush, a pass over more than was thought of) finds the gate opened, and is ended.
#![allow(unsafe_code)]

use crate::linux::{ending, priority};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, pipe2, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// After a signal the gate is open at the latest after this time ...
const OPEN_WITHIN_MS: u16 = 50;
/// ... and the command ends after this one more.
const END_WITHIN_MS: u16 = 40;
/// A process that ends by a signal has this exit code, and the signal's number.
const EXIT_BY_SIGNAL: i32 = 128;

/// A descriptor whose other side is held by the one for whom all is done: when that is gone, it
/// is as if SIGTERM had come.
static CALLER: Mutex<Option<OwnedFd>> = Mutex::new(None);

type Opener = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Shared {
    received: AtomicI32,
    /// The caller has what it wanted, and may go.
    caller_is_served: AtomicBool,
    /// The gate is open, and what is waited for is bounded by itself.
    in_hand: AtomicBool,
    /// Told to stop, if we must end first; 0: none.
    child: AtomicI32,
    opener: Mutex<Option<Opener>>,
}

/// The signals that end a freeze.
pub struct Signals {
    shared: Arc<Shared>,
    told: OwnedFd,
    /// Closed to end the thread.
    running: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// From now on the end of the other side of `link` counts as SIGTERM, until
/// [`Signals::caller_is_served`].
pub fn end_with_caller(link: OwnedFd) {
    *CALLER.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
}

impl Signals {
    /// From now on they are taken by the thread.
    pub fn block() -> io::Result<Signals> {
        let before = ending::signals().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let made = Signals::start();
        if made.is_err() {
            let _ = before.thread_set_mask();
        }
        made
    }

    fn start() -> io::Result<Signals> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&ending::signals(), flags)?;
        let (told, tell) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (ended, running) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let caller = CALLER.lock().unwrap_or_else(PoisonError::into_inner).take();
        let shared = Arc::new(Shared::default());
        let watch = Watch { shared: shared.clone(), signals, tell, ended, caller };
        let thread = std::thread::Builder::new()
            .name("writegate-sig".into())
            .stack_size(128 * 1024)
            .spawn(move || watch.run())?;
        Ok(Signals { shared, told, running: Some(running), thread: Some(thread) })
    }

    /// The first of them that was received, if one was. Stays.
    pub fn received(&self) -> Option<i32> {
        match self.shared.received.load(SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Becomes readable when one is received, and stays so.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }

    /// How the gate is opened if the freezer does not get to it. It may run beside the freezer.
    pub fn open_by(&self, opener: Opener) {
        *self.shared.opener.lock().unwrap_or_else(PoisonError::into_inner) = Some(opener);
    }

    /// This child is told to stop where we must end without having waited for it.
    pub fn stop_with_us(&self, child: i32) {
        self.shared.child.store(child, SeqCst);
    }

    /// The gate is open, and what is done now ends by itself.
    pub fn in_hand(&self) {
        self.shared.in_hand.store(true, SeqCst);
    }

    /// The one for whom all was done may go.
    pub fn caller_is_served(&self) {
        self.shared.caller_is_served.store(true, SeqCst);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // One that comes from now on ends us as it ends any command.
        let _ = ending::signals().thread_unblock();
    }
}

/// What the thread works with.
struct Watch {
    shared: Arc<Shared>,
    signals: SignalFd,
    tell: OwnedFd,
    ended: OwnedFd,
    caller: Option<OwnedFd>,
}

impl Watch {
    fn run(self) {
        let _ = SigSet::all().thread_block();
        priority::above_the_freezer();
        let Some(signal) = self.wait() else { return };
        self.shared.received.store(signal, SeqCst);
        let _ = write(&self.tell, b"!");
        if self.has_ended_within(OPEN_WITHIN_MS) {
            return;
        }
        self.open();
        if self.has_ended_within(END_WITHIN_MS) {
            return;
        }
        while self.shared.in_hand.load(SeqCst) {
            if self.has_ended_within(1000) {
                return;
            }
        }
        // It may have raised it again, between two of our steps.
        self.open();
        self.end(signal);
    }

    /// Waits for a signal; none: the freezer has ended.
    fn wait(&self) -> Option<i32> {
        loop {
            let served = self.shared.caller_is_served.load(SeqCst);
            let mut polls = vec![
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
            ];
            if let Some(caller) = self.caller.as_ref().filter(|_| !served) {
                polls.push(PollFd::new(caller.as_fd(), PollFlags::empty()));
            }
            let most = PollTimeout::from(if polls.len() > 2 { 20u16 } else { 10_000 });
            if poll(&mut polls, most).is_err() {
                continue;
            }
            let is = |at: usize, flag| {
                let events = polls.get(at).and_then(|poll: &PollFd<'_>| poll.revents());
                events.is_some_and(|events: PollFlags| events.contains(flag))
            };
            if is(1, PollFlags::POLLHUP) {
                return None;
            }
            if let Ok(Some(info)) = self.signals.read_signal() {
                return Some(info.ssi_signo as i32);
            }
            if is(2, PollFlags::POLLHUP) && !self.shared.caller_is_served.load(SeqCst) {
                return Some(Signal::SIGTERM as i32);
            }
        }
    }

    fn has_ended_within(&self, ms: u16) -> bool {
        let mut polls = [PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        poll(&mut polls, PollTimeout::from(ms)).is_ok_and(|ready| ready > 0)
    }

    fn open(&self) {
        // Never waited for: it is only held while it is set.
        if let Ok(opener) = self.shared.opener.try_lock()
            && let Some(open) = opener.as_ref()
        {
            open();
        }
    }

    fn end(&self, signal: i32) -> ! {
        let child = self.shared.child.load(SeqCst);
        if child > 0 {
            let _ = nix::sys::signal::kill(Pid::from_raw(child), Signal::SIGTERM);
        }
        let stderr = io::stderr();
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            // Not through std, whose lock the freezer may hold.
            let _ = write(
                stderr.as_fd(),
                b"writegate: interrupted; the gate is open. What was being done did not end in time\n",
            );
        }
        // SAFETY: takes a number; ends the process without running what the freezer is in the
        // middle of.
        unsafe { libc::_exit(EXIT_BY_SIGNAL + signal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    /// In a child: the signal would be for the whole of the test program.
    fn in_child(work: impl FnOnce()) -> i32 {
        let child = crate::linux::fork::child(|| {
            work();
            // SAFETY: takes a number.
            unsafe { libc::_exit(7) }
        });
        child.unwrap()
    }

    fn exit_code(pid: i32) -> i32 {
        match nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap() {
            nix::sys::wait::WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_that_does_not_end_by_itself_is_ended_after_the_gate_was_opened() {
        let (seen, opened) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let begun = Instant::now();
        let pid = in_child(|| {
            let signals = Signals::block().unwrap();
            let _ = write(&opened, b"b");
            signals.open_by(Box::new(move || {
                let _ = write(&opened, b"o");
            }));
            loop {
                std::hint::spin_loop();
            }
        });
        let mut byte = [0];
        nix::unistd::read(&seen, &mut byte).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        nix::unistd::read(&seen, &mut byte).unwrap();
        assert_eq!((byte, exit_code(pid)), (*b"o", EXIT_BY_SIGNAL + libc::SIGTERM));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_caller_that_goes_is_a_signal() {
        assert_eq!(ends_with_its_caller(false), EXIT_BY_SIGNAL + libc::SIGTERM);
    }

    #[test]
    fn a_caller_that_is_served_may_go() {
        assert_eq!(ends_with_its_caller(true), 7);
    }

    /// How a keeper ends whose caller goes.
    ///
    /// The caller's end is shut down and not closed: what other tests of this program fork meanwhile
    /// has a copy of it. It is so only once the keeper is ready: one whose caller goes before it is
    /// served is ended, and rightly.
    fn ends_with_its_caller(served: bool) -> i32 {
        let (caller, link) = UnixStream::pair().unwrap();
        let (mut keeper, mut test) = UnixStream::pair().unwrap();
        let pid = in_child(|| {
            end_with_caller(link.into());
            let signals = Signals::block().unwrap();
            if served {
                signals.caller_is_served();
            }
            test.write_all(b"r").unwrap();
            // Long before this time it is ended, or told that the caller has gone.
            test.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            if test.read_exact(&mut [0]).is_ok() {
                // Its thread looks every 20 ms while a caller counts.
                std::thread::sleep(Duration::from_millis(200));
            }
            assert_eq!(signals.received(), None);
        });
        keeper.read_exact(&mut [0]).unwrap();
        caller.shutdown(Shutdown::Both).unwrap();
        if served {
            keeper.write_all(b"g").unwrap();
        }
        exit_code(pid)
    }
}
