//! A freeze around a snapshot command: the recommended form.
//!
//! Between the closing and the thaw nothing is written anywhere: stdout, stderr and the
//! report may lie on the very disk whose writers are held.

use super::args::{Args, Policy};
use crate::command::output::{say, show};
use crate::drive::drain::DrainEnd;
use crate::freeze::attempt::Freeze;
use crate::freeze::options::Options;
use crate::freeze::token::Token;
use crate::freeze::wrapped::{self, About, End};
use crate::linux::clock;
use crate::outcome::fault::{Fault, Result};
use crate::outcome::record::{CommandRecord, Moment, Record};
use crate::outcome::syslog;
use crate::outcome::verdict::Verdict;

/// Freezes, runs the command, thaws; the exit code.
pub fn freeze(args: &Args, options: Options) -> Result<u8> {
    wrapped::check(&args.command)?;
    let (asked, asked_at) = (options.clone(), clock::now_ns());
    let mut freeze = match Freeze::prepare(options) {
        Ok(freeze) => freeze,
        Err(fault) => {
            let record = Freeze::never_begun(&asked, asked_at, &fault);
            return record.map_or(Err(fault), |record| Ok(finish(args, record, None)));
        }
    };
    if args.policy == Policy::Abort
        && let Some(verdict) = freeze.evidence.objection()
    {
        say("this speaks against any snapshot already; nothing was held, no command was run");
        return Ok(finish(args, freeze.record_all(verdict, None), None));
    }
    match freeze.begin() {
        DrainEnd::Drained => frozen(args, freeze),
        DrainEnd::Interrupted(signal) => {
            let record = freeze.record_all(Verdict::Interrupted, None);
            Ok(finish(args, record, Some(128 + signal as u8)))
        }
        DrainEnd::NotQuiet => Ok(finish(args, freeze.record_all(Verdict::NotQuiet, None), None)),
        DrainEnd::NotDrained => not_held_up(args, &mut freeze, Verdict::NotDrained),
        DrainEnd::NotHeld => {
            let verdict = freeze.not_held();
            not_held_up(args, &mut freeze, verdict)
        }
    }
}

/// The gate is drained: runs the command, and thaws.
fn frozen(args: &Args, mut freeze: Freeze) -> Result<u8> {
    let about = about(&freeze);
    let started = clock::now_ns();
    let child = match wrapped::start(&args.command, &about, freeze.session.priority) {
        Ok(child) => child,
        Err(fault) => {
            freeze.thaw();
            return Err(fault);
        }
    };
    freeze.evidence.command_is(child.id() as i32);
    let deadline = freeze.deadline();
    let Freeze { evidence, session, .. } = &mut freeze;
    let end = wrapped::wait(child, deadline, args.kill_late, &session.signals, evidence);
    let ended = clock::now_ns();
    let thawed = freeze.thaw();
    let (exit, signal) = match end? {
        End::Exited(status) => (wrapped::code(status), None),
        End::Signal(signal, mut child) => {
            say("interrupted: the gate is open again, the command is told to stop");
            (wrapped::stop(&mut child), Some(signal))
        }
    };
    let mut record = freeze.record(&thawed, Some(command_record(args, exit, started, ended)));
    if signal.is_some() {
        interrupted(&mut record);
    }
    let code = match signal {
        Some(signal) => 128 + signal as u8,
        None if record.verdict == Verdict::Expired || exit == 0 => record.verdict.code(),
        None => exit,
    };
    let priority = freeze.session.priority;
    drop(freeze);
    priority.restore();
    if record.verdict != Verdict::Consistent {
        on_untrusted(args, record.verdict, exit, &about);
    }
    Ok(finish(args, record, Some(code)))
}

/// The gate did not drain, or not all could be held: ends, or runs the command without it.
fn not_held_up(args: &Args, freeze: &mut Freeze, verdict: Verdict) -> Result<u8> {
    if args.policy == Policy::Abort {
        return Ok(finish(args, freeze.record_all(verdict, None), None));
    }
    let about = About { gates: freeze.names(), token: String::new(), deadlines: "0".into() };
    let started = clock::now_ns();
    let status = wrapped::start(&args.command, &about, freeze.session.priority)?.wait();
    let exit = wrapped::code(status.map_err(|e| Fault::io("cannot wait for the command", &e))?);
    let command = command_record(args, exit, started, clock::now_ns());
    let record = freeze.record_all(Verdict::CrashConsistent, Some(command));
    Ok(finish(args, record, Some(exit)))
}

pub(super) fn command_record(args: &Args, exit: u8, started: u64, ended: u64) -> CommandRecord {
    CommandRecord {
        argv: args.command.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
        exit: Some(exit),
        started: Moment::at(started),
        ended: Moment::at(ended),
    }
}

fn interrupted(record: &mut Record) {
    for gate in &mut record.gates {
        gate.line.verdict = Verdict::Interrupted;
    }
    record.verdict = Verdict::Interrupted;
}

/// Prints and writes what there is to say.
pub(super) fn finish(args: &Args, mut record: Record, code: Option<u8>) -> u8 {
    record.exit = code.unwrap_or(record.exit);
    show(&record, &args.telling);
    syslog::freeze(&record);
    record.exit
}

/// What the command is told.
fn about(freeze: &Freeze) -> About {
    let token = Token {
        gates: freeze.session.gates.iter().map(|g| g.name.clone()).collect(),
        deadlines: freeze.drains.iter().map(|run| run.deadline()).collect(),
        nonce: Token::fresh_nonce(),
    };
    About { gates: freeze.names(), token: token.to_string(), deadlines: freeze.deadlines() }
}

/// Nobody else will.
const BY_HAND: &str = "the snapshot may still stand under its good name: set it aside by hand";

/// Only for what a command says that it has made: where it failed, what lies at that place
/// may be the last good snapshot, and the usual thing to run here is one that deletes.
pub(super) fn on_untrusted(args: &Args, verdict: Verdict, exit: u8, about: &About) {
    let Some(command) = &args.on_untrusted else { return };
    if exit != 0 {
        say(&format!(
            "the command ended with {exit}, so it is not known what it made: --on-untrusted was not run"
        ));
        return;
    }
    let ran = std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("WRITEGATE_VERDICT", verdict.name())
        .env("WRITEGATE_GATE", &about.gates)
        .env_remove("LD_PRELOAD")
        .status();
    match ran {
        Ok(status) if status.success() => {}
        Ok(status) => say(&format!("--on-untrusted `{command}` ended with {status}; {BY_HAND}")),
        Err(e) => say(&format!("--on-untrusted `{command}` could not be run: {e}; {BY_HAND}")),
    }
}
