//! A freeze without a gate (`--unit`, `--cgroup`, `--pid`): the processes are stopped at rest.
//!
//! Between the stop and the release nothing is written anywhere, as in `wrap_mode`.

use super::args::{Args, Policy};
use super::wrap_mode::{command_record, finish, on_untrusted};
use crate::command::output::say;
use crate::freeze::hold_end::HoldEnd;
use crate::freeze::options::Options;
use crate::freeze::token::Token;
use crate::freeze::without_gate::Held;
use crate::freeze::wrapped::{self, About, End};
use crate::hold::protocol::Plan;
use crate::hold::selection::{Selection, group_of_unit};
use crate::linux::clock;
use crate::outcome::fault::{CONFIG, Fault, NO_PROCESS, Result, USAGE};
use crate::outcome::ledger::Barrier;
use crate::outcome::verdict::Verdict;
use std::path::{Path, PathBuf};

/// Where profiles lie that are named without a directory.
const PROFILES: &str = "/etc/writegate";

/// Is it asked for?
pub fn is_asked(args: &Args) -> bool {
    args.unit.is_some() || args.cgroup.is_some() || !args.pid.is_empty()
}

/// Holds, runs the command, lets go; the exit code.
pub fn freeze(args: &Args, options: Options) -> Result<u8> {
    if args.command.is_empty() {
        return Err(Fault::new(
            USAGE,
            "--unit, --cgroup and --pid need a command after `--`: no process may be held by a token",
        ));
    }
    if args.wait_quiet.is_some() || args.sync || !args.users.is_empty() {
        return Err(Fault::new(
            USAGE,
            "--wait-quiet, --sync and --users are for a gate; they do nothing with --unit, --cgroup \
             or --pid",
        ));
    }
    wrapped::check(&args.command)?;
    let (name, selection) = select(args)?;
    let options = Options { gates: vec![name], ..options };
    let freezer = std::process::id() as i32;
    let selection = Selection { freezer, ..selection };
    let mut held = Held::prepare(options, selection, Plan { profile: profile(args)? })?;
    match held.begin()? {
        HoldEnd::AtRest => at_rest(args, held),
        HoldEnd::Interrupted(signal) => {
            let record = held.record(Verdict::Interrupted, None);
            Ok(finish(args, record, Some(128 + signal as u8)))
        }
        HoldEnd::NotHeld if args.policy == Policy::Abort => {
            let verdict = held.verdict(Barrier::Held);
            Ok(finish(args, held.record(verdict, None), None))
        }
        HoldEnd::NotAtRest if args.policy == Policy::Abort => {
            Ok(finish(args, held.record(Verdict::NotDrained, None), None))
        }
        HoldEnd::NotHeld | HoldEnd::NotAtRest => without_hold(args, &held),
    }
}

fn at_rest(args: &Args, mut held: Held) -> Result<u8> {
    let about = about(&held);
    let started = clock::now_ns();
    let child = match wrapped::start(&args.command, &about, held.priority) {
        Ok(child) => child,
        Err(fault) => {
            held.release();
            return Err(fault);
        }
    };
    held.evidence.command_is(child.id() as i32);
    let deadline = held.deadline();
    let end = wrapped::wait(child, deadline, args.kill_late, &held.signals, &mut held.evidence);
    let ended = clock::now_ns();
    let fared = held.release();
    let (exit, signal) = match end? {
        End::Exited(status) => (wrapped::code(status), None),
        End::Signal(signal, mut child) => {
            say("interrupted: all run again, the command is told to stop");
            (wrapped::stop(&mut child), Some(signal))
        }
    };
    let verdict = held.verdict(fared);
    let record = held.record(verdict, Some(command_record(args, exit, started, ended)));
    let code = match signal {
        Some(signal) => 128 + signal as u8,
        None if verdict == Verdict::Expired || exit == 0 => verdict.code(),
        None => exit,
    };
    let priority = held.priority;
    drop(held);
    priority.restore();
    if verdict != Verdict::Consistent {
        on_untrusted(args, verdict, exit, &about);
    }
    Ok(finish(args, record, Some(code)))
}

/// As asked, the command runs though nothing is held.
fn without_hold(args: &Args, held: &Held) -> Result<u8> {
    let about = About { deadlines: "0".into(), token: String::new(), ..about(held) };
    let started = clock::now_ns();
    let status = wrapped::start(&args.command, &about, held.priority)?.wait();
    let exit = wrapped::code(status.map_err(|e| Fault::io("cannot wait for the command", &e))?);
    let command = command_record(args, exit, started, clock::now_ns());
    Ok(finish(args, held.record(Verdict::CrashConsistent, Some(command)), Some(exit)))
}

fn about(held: &Held) -> About {
    let gates = held.options.gates.clone();
    let deadlines = vec![held.deadline()];
    let token = Token { gates: gates.clone(), deadlines, nonce: Token::fresh_nonce() };
    About {
        gates: gates.join(","),
        token: token.to_string(),
        deadlines: held.deadline().to_string(),
    }
}

/// Whom, and under which name.
fn select(args: &Args) -> Result<(String, Selection)> {
    if let Some(unit) = &args.unit {
        let unit = if unit.contains('.') { unit.clone() } else { format!("{unit}.service") };
        let group = group_of_unit(&unit).ok_or_else(|| {
            let why = "is in no control group: is it running? Without systemd: --pid, --cgroup";
            Fault::new(NO_PROCESS, format!("{unit} {why}"))
        })?;
        let selection = Selection { cgroups: vec![group], ..Selection::default() };
        return Ok((format!("unit:{unit}"), selection));
    }
    if let Some(group) = &args.cgroup {
        let group = group_dir(group)?;
        let name = format!("cgroup:{}", group.display());
        return Ok((name, Selection { cgroups: vec![group], ..Selection::default() }));
    }
    let ids: Vec<String> = args.pid.iter().map(i32::to_string).collect();
    let processes = args.pid.iter().copied().collect();
    Ok((
        format!("pid:{}", ids.join(",")),
        Selection { processes, descend: true, ..Selection::default() },
    ))
}

/// A group by its directory, or by its path as /proc/PID/cgroup shows it.
fn group_dir(given: &Path) -> Result<PathBuf> {
    let below = given.strip_prefix("/").unwrap_or(given);
    let places = [given.to_owned(), Path::new("/sys/fs/cgroup").join(below)];
    let found = places.into_iter().find(|place| place.join("cgroup.procs").is_file());
    found.ok_or_else(|| {
        Fault::new(USAGE, format!("--cgroup: {} is no control group", given.display()))
    })
}

/// The profile's text, with the lines of --lifetime-lock and --lock-file.
fn profile(args: &Args) -> Result<String> {
    let mut text = String::new();
    if let Some(name) = &args.profile {
        let path = match name.components().count() {
            1 => Path::new(PROFILES).join(name).with_extension("conf"),
            _ => name.clone(),
        };
        text = std::fs::read_to_string(&path)
            .map_err(|e| Fault::io(format!("--profile: cannot read {}", path.display()), &e))?;
    }
    for pattern in &args.lifetime_lock {
        text += &format!("\nlifetime-lock = {pattern}");
    }
    for pattern in &args.lock_file {
        text += &format!("\nlock-file = {pattern}");
    }
    gate::profile::check(&text).map_err(|wrong| {
        Fault::new(CONFIG, format!("--profile, --lifetime-lock, --lock-file: {}", wrong.what))
    })?;
    Ok(text)
}
