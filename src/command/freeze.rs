//! `writegate freeze`: raises the barrier, drains, runs the snapshot command, thaws,
//! and says what the snapshot is worth. Without a command it prints a token for
//! `thaw`.
//!
//! Between the closing and the thaw nothing is written anywhere: stdout, stderr
//! and the report may lie on the very disk whose writers are held.

use super::{gates, print, say, show};
use crate::drive::drain::DrainEnd;
use crate::duration;
use crate::evidence::wanted::{Require, Wanted};
use crate::freeze::attempt::Freeze;
use crate::freeze::keeper::{self, Started};
use crate::freeze::options::Options;
use crate::freeze::token::Token;
use crate::freeze::wrapped::{self, About, End};
use crate::linux::clock;
use crate::outcome::fault::{self, Fault, Result};
use crate::outcome::record::{CommandRecord, Moment, Record};
use crate::outcome::syslog;
use crate::outcome::verdict::Verdict;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Raise the barrier, drain, run a snapshot command, thaw, and give a verdict
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate freeze -g mail -- lvcreate --snapshot -n snap vg/mail
  TOKEN=$(writegate freeze -g mail) && take-snapshot; writegate thaw \"$TOKEN\"
  writegate freeze -g mail --wait-quiet 30s -- lvcreate --snapshot -n snap vg/mail

Four limits, each with its own failure: --queue (another freeze has the gate: BUSY, 75), --wait-quiet \
(no quiet moment: goes on and says so; with --require quiet NOT_QUIET, 75), --drain (something stays \
in flight: NOT_DRAINED, 75), --limit (from raising the barrier to the thaw: EXPIRED, 124). Writers \
wait during the last two only.

The snapshot command gets WRITEGATE_GATE, WRITEGATE_TOKEN and WRITEGATE_DEADLINE. Bracket the \
snapshot, never the copy that follows it.")]
pub struct Args {
    /// Gate to freeze; several are frozen all or none
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Vec<String>,
    /// No writer waits longer than this, whatever happens
    #[arg(short = 't', long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    limit: Duration,
    /// How long one attempt may wait for what is in flight
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    drain: Duration,
    /// Further attempts when the gate did not drain
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,
    /// How long to wait for another freeze of the same gate: its end is BUSY, exit code 75
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    queue: Duration,
    /// Wait at most this long for a quiet moment (no section open, at most 2 calls in flight, twice
    /// in a row) before anybody is held; then go on all the same, unless --require quiet
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait_quiet: Option<Duration>,
    /// Protected directories, as the service's WRITEGATE_PATHS names them
    #[arg(long, value_name = "DIR:DIR")]
    paths: Option<String>,
    /// Wait only for processes of these users and root (default: for everybody who maps the page)
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    users: Vec<String>,
    /// Flush the protected file systems first (for tools that do not do so themselves)
    #[arg(long)]
    sync: bool,
    /// Tell the command to stop (SIGTERM) when the limit passes
    #[arg(long)]
    kill_late: bool,
    /// Run this (by sh) when a snapshot was taken that cannot be trusted
    #[arg(long, value_name = "COMMAND")]
    on_untrusted: Option<String>,
    /// What to do when the gate does not drain
    #[arg(long, value_enum, default_value_t = Policy::Abort)]
    policy: Policy,
    /// Fail unless this could be checked (quiet: unless it became quiet within --wait-quiet)
    #[arg(long, value_enum, value_delimiter = ',')]
    require: Vec<Require>,
    /// Write the full record (JSON) here, after the thaw
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The snapshot command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What to do when the gate does not drain.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    /// Do not run the command
    Abort,
    /// Run it without the gate; the verdict says so
    CrashConsistent,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.limit < Duration::from_millis(1) || args.limit > Duration::from_secs(60) {
        return Err(Fault::new(fault::USAGE, "--limit must be between 1ms and 60s"));
    }
    if args.require.contains(&Require::Quiet) && args.wait_quiet.is_none_or(|t| t.is_zero()) {
        return Err(Fault::new(fault::USAGE, "--require quiet needs --wait-quiet TIME"));
    }
    let options = Options {
        gates: gates(&args.gate),
        limit_ns: duration::ns(args.limit),
        drain_ns: duration::ns(args.drain),
        retries: args.retries,
        queue_ns: duration::ns(args.queue),
        wait_quiet_ns: args.wait_quiet.map_or(0, duration::ns),
        users: users(&args.users)?,
        evidence: Wanted {
            gather: true,
            paths: paths(args.paths.as_deref())?,
            sync: args.sync,
            require: args.require.clone(),
        },
    };
    let gates = options.gates.join(",");
    let done =
        if args.command.is_empty() { leave_frozen(args, options) } else { wrap(args, options) };
    done.inspect_err(|fault| {
        if fault.code != fault::USAGE {
            syslog::refused(&gates, fault);
        }
    })
}

/// Protected directories from the command line or the environment.
pub fn paths(given: Option<&str>) -> Result<Vec<PathBuf>> {
    let named = given.map(str::to_owned).or_else(|| std::env::var("WRITEGATE_PATHS").ok());
    let named = named.unwrap_or_default();
    let paths: Vec<PathBuf> =
        named.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect();
    match paths.iter().find(|p| !p.is_absolute()) {
        Some(path) => Err(Fault::new(
            fault::USAGE,
            format!("--paths: {} is not an absolute path", path.display()),
        )),
        None => Ok(paths),
    }
}

/// Users by name or number.
fn users(given: &[String]) -> Result<Option<Vec<u32>>> {
    let known = |name: &String| {
        let by_name = || nix::unistd::User::from_name(name).ok().flatten().map(|u| u.uid.as_raw());
        name.parse()
            .ok()
            .or_else(by_name)
            .ok_or_else(|| Fault::new(fault::USAGE, format!("--users: there is no user `{name}`")))
    };
    let ids: Result<Vec<u32>> = given.iter().map(known).collect();
    let ids = ids?;
    Ok((!ids.is_empty()).then_some(ids))
}

/// Token mode.
fn leave_frozen(args: &Args, options: Options) -> Result<u8> {
    if args.on_untrusted.is_some() || args.kill_late || args.policy != Policy::Abort {
        return Err(Fault::new(
            fault::USAGE,
            "--on-untrusted, --kill-late and --policy need a command after `--`",
        ));
    }
    let told = keeper::start(options)?;
    match &told {
        Started::Frozen { token, notes } => {
            // Nothing but the token on stdout: scripts take it from there. This is a
            // pipe or a terminal; a file on the frozen disk would hold nothing up but us.
            print(token);
            for note in notes {
                say(note);
            }
        }
        Started::Not(record) => show(record, args.report.as_deref()),
        Started::Failed { code, message } => return Err(Fault::new(*code, message)),
    }
    Ok(keeper::code(&told))
}

/// Wrap mode: the recommended form.
fn wrap(args: &Args, options: Options) -> Result<u8> {
    wrapped::check(&args.command)?;
    let (asked, asked_at) = (options.clone(), clock::now_ns());
    let mut freeze = match Freeze::prepare(options) {
        Ok(freeze) => freeze,
        Err(fault) => {
            let record = Freeze::never_begun(&asked, asked_at, &fault);
            return record.map_or(Err(fault), |record| Ok(finish(args, record, None)));
        }
    };
    if args.policy == Policy::Abort && freeze.evidence.known_writers() {
        say("there are writers that the gate does not hold; nothing was held, no command was run");
        return Ok(finish(args, freeze.record_all(Verdict::Ungated, None), None));
    }
    match freeze.begin() {
        DrainEnd::Drained => {}
        DrainEnd::Interrupted(signal) => {
            let record = freeze.record_all(Verdict::Interrupted, None);
            return Ok(finish(args, record, Some(128 + signal as u8)));
        }
        DrainEnd::NotQuiet => {
            return Ok(finish(args, freeze.record_all(Verdict::NotQuiet, None), None));
        }
        DrainEnd::NotDrained => return not_drained(args, &mut freeze),
    }
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
    let end = wrapped::wait(child, deadline, args.kill_late, session, evidence);
    let ended = clock::now_ns();
    let thawed = freeze.thaw();
    let (exit, signal) = match end? {
        End::Exited(status) => (wrapped::code(status), None),
        End::Signal(signal, mut child) => {
            say("interrupted: the gate is open again, the command is told to stop");
            (wrapped::stop(&mut child), Some(signal))
        }
    };
    let command = CommandRecord {
        argv: args.command.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
        exit: Some(exit),
        started: Moment::at(started),
        ended: Moment::at(ended),
    };
    let mut record = freeze.record(&thawed, Some(command));
    if signal.is_some() {
        for gate in &mut record.gates {
            gate.line.verdict = Verdict::Interrupted;
        }
        record.verdict = Verdict::Interrupted;
    }
    let untrusted = record.verdict != Verdict::Consistent;
    let code = match signal {
        Some(signal) => 128 + signal as u8,
        None if record.verdict == Verdict::Expired || exit == 0 => record.verdict.code(),
        None => exit,
    };
    let priority = freeze.session.priority;
    drop(freeze);
    priority.restore();
    if untrusted {
        on_untrusted(args, record.verdict, &about);
    }
    Ok(finish(args, record, Some(code)))
}

/// Prints and writes what there is to say.
fn finish(args: &Args, mut record: Record, code: Option<u8>) -> u8 {
    record.exit = code.unwrap_or(record.exit);
    show(&record, args.report.as_deref());
    syslog::freeze(&record);
    record.exit
}

fn not_drained(args: &Args, freeze: &mut Freeze) -> Result<u8> {
    if args.policy == Policy::Abort {
        return Ok(finish(args, freeze.record_all(Verdict::NotDrained, None), None));
    }
    let about = About { gates: freeze.names(), token: String::new(), deadlines: "0".into() };
    let started = clock::now_ns();
    let status = wrapped::start(&args.command, &about, freeze.session.priority)?.wait();
    let exit = wrapped::code(status.map_err(|e| Fault::io("cannot wait for the command", &e))?);
    let command = CommandRecord {
        argv: args.command.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
        exit: Some(exit),
        started: Moment::at(started),
        ended: Moment::at(clock::now_ns()),
    };
    let record = freeze.record_all(Verdict::CrashConsistent, Some(command));
    Ok(finish(args, record, Some(exit)))
}

fn about(freeze: &Freeze) -> About {
    let token = Token {
        gates: freeze.session.gates.iter().map(|g| g.name.clone()).collect(),
        deadlines: freeze.drains.iter().map(|drain| drain.deadline()).collect(),
        nonce: Token::fresh_nonce(),
    };
    About { gates: freeze.names(), token: token.to_string(), deadlines: freeze.deadlines() }
}

fn on_untrusted(args: &Args, verdict: Verdict, about: &About) {
    let Some(command) = &args.on_untrusted else { return };
    let ran = std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("WRITEGATE_VERDICT", verdict.name())
        .env("WRITEGATE_GATE", &about.gates)
        .env_remove("LD_PRELOAD")
        .status();
    match ran {
        Ok(status) if status.success() => {}
        Ok(status) => say(&format!("--on-untrusted ended with {status}")),
        Err(e) => say(&format!("--on-untrusted could not be run: {e}")),
    }
}
