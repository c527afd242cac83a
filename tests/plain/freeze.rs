//! The plain gate's freezer: closes, waits until no call is under way, runs a command, opens.
//!
//!     PLAIN_GATE=FILE plain-freeze COMMAND [ARGUMENT ...]
//!
//! Prints the three instants (ns of CLOCK_MONOTONIC): closed, drained, opened. Exit code 75: not drained, and the command was not run.

mod page;

use crossbeam_utils::Backoff;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const USAGE: u8 = 64;
const NOT_DRAINED: u8 = 75;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let (Some(page), [program, arguments @ ..]) = (page::map(), &words[..]) else {
        eprintln!(
            "usage: {}=FILE plain-freeze COMMAND ...   (FILE: 256 bytes, mapped by the shim)",
            page::VARIABLE
        );
        return ExitCode::from(USAGE);
    };
    let closed = (now(), Instant::now());
    page.barrier.store(1, SeqCst);
    let waiting = Backoff::new();
    while page.inside.load(SeqCst) > 0 {
        if closed.1.elapsed() > page::LIMIT {
            page.barrier.store(0, SeqCst);
            eprintln!("not drained: {} calls are under way", page.inside.load(SeqCst));
            return ExitCode::from(NOT_DRAINED);
        }
        if waiting.is_completed() {
            std::thread::sleep(Duration::from_micros(50));
        } else {
            waiting.snooze();
        }
    }
    let drained = now();
    let done =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    page.barrier.store(0, SeqCst);
    println!("{} {drained} {}", closed.0, now());
    match done {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn now() -> u64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a structure of its own to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut at) };
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}
