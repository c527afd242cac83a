//! `writegate freeze`: raises the barrier, drains, runs the snapshot command, thaws,
//! and says what the snapshot is worth.
//!
//! Between the closing and the thaw nothing is written anywhere: stdout, stderr
//! and the report may lie on the very disk whose writers are held.

use super::{gates, print, say};
use crate::host::blockers::{self, Blocker};
use crate::host::duration;
use crate::host::engine::{Ended, Run, Session};
use crate::host::fault::{self, Fault, Result};
use crate::host::verdict::{Coverage, Line, Verdict};
use crate::host::wrapped::{self, About, End};
use gate::drain::Broken;
use std::ffi::OsString;
use std::time::Duration;

/// Raise the barrier, drain, run a snapshot command, thaw, and give a verdict
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  writegate freeze -g mail -- lvcreate --snapshot -n snap vg/mail"
)]
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
    /// How long to wait for another freeze of the same gate
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    queue: Duration,
    /// Tell the command to stop (SIGTERM) when the limit passes
    #[arg(long)]
    kill_late: bool,
    /// Run this (by sh) when a snapshot was taken that cannot be trusted
    #[arg(long, value_name = "COMMAND")]
    on_untrusted: Option<String>,
    /// What to do when the gate does not drain
    #[arg(long, value_enum, default_value_t = Policy::Abort)]
    policy: Policy,
    /// The snapshot command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What to do when the gate does not drain.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    /// Do not run the command.
    Abort,
    /// Run it without the gate; the verdict says so.
    CrashConsistent,
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.limit < Duration::from_millis(1) || args.limit > Duration::from_secs(60) {
        return Err(Fault::new(fault::USAGE, "--limit must be between 1ms and 60s"));
    }
    let mut session = Session::open(&gates(&args.gate), ns(args.queue), |note| say(&note))?;
    let (ended, mut runs) = attempts(args, &mut session)?;
    match ended {
        Ended::Drained => {}
        Ended::Interrupted(signal) => {
            report_lines(&session, &runs, |_| (Verdict::Interrupted, 0));
            return Ok(128 + signal as u8);
        }
        Ended::NotDrained => return not_drained(args, &session, &runs),
    }

    let about = about(&session, &runs);
    let deadline = runs.iter().map(Run::deadline).min().unwrap_or(0);
    let child = match wrapped::start(&args.command, &about) {
        Ok(child) => child,
        Err(fault) => {
            session.thaw(&mut runs);
            return Err(fault);
        }
    };
    let end = wrapped::wait(child, &mut session.signals, deadline, args.kill_late, || {});
    let thawed = session.thaw(&mut runs);
    let judge = |at: usize| match thawed[at].held {
        Ok(()) => Verdict::Consistent,
        Err(Broken::Expired) => Verdict::Expired,
        Err(Broken::Moved) => Verdict::Escaped,
    };
    let mut code = match end? {
        End::Exited(status) => wrapped::code(status),
        End::Signal(signal, mut child) => {
            say("interrupted: the gate is open again, the command is told to stop");
            wrapped::stop(&mut child);
            report_lines(&session, &runs, |at| (Verdict::Interrupted, thawed[at].opened_at));
            return Ok(128 + signal as u8);
        }
    };
    let worst = (0..runs.len()).map(judge).max_by_key(|v| v.rank()).unwrap_or(Verdict::Consistent);
    if worst != Verdict::Consistent && (code == 0 || worst == Verdict::Expired) {
        code = worst.code();
    }
    if worst != Verdict::Consistent {
        on_untrusted(args, worst, &about);
    }
    report_lines(&session, &runs, |at| (judge(at), thawed[at].opened_at));
    Ok(code)
}

/// Drains, again and again if it must.
fn attempts(args: &Args, session: &mut Session) -> Result<(Ended, Vec<Run>)> {
    let (limit, drain) = (ns(args.limit), ns(args.drain));
    let mut attempt = 0;
    loop {
        if !session.rest(limit) {
            let signal = session.signals.came().unwrap_or(libc::SIGTERM);
            return Ok((Ended::Interrupted(signal), Vec::new()));
        }
        let (ended, runs) = session.drain(limit, drain);
        if ended != Ended::NotDrained || attempt >= args.retries {
            return Ok((ended, runs));
        }
        attempt += 1;
        say(&format!("not drained within {:?}; attempt {} follows", args.drain, attempt + 1));
    }
}

fn not_drained(args: &Args, session: &Session, runs: &[Run]) -> Result<u8> {
    let blockers: Vec<Blocker> = (0..session.gates.len())
        .flat_map(|at| session.census.alive(at).flat_map(blockers::of))
        .collect();
    say("not drained; nothing is held any longer. In flight now:");
    if blockers.is_empty() {
        say("  nobody (it was a matter of moments: a longer --drain may do)");
    }
    for blocker in blockers.iter().take(20) {
        say(&format!("  {blocker}"));
    }
    if args.policy == Policy::Abort {
        report_lines(session, runs, |_| (Verdict::NotDrained, 0));
        return Ok(fault::NOT_DRAINED);
    }
    let about = About { gates: names(session), token: String::new(), deadlines: "0".into() };
    let status = wrapped::start(&args.command, &about)?.wait();
    report_lines(session, runs, |_| (Verdict::CrashConsistent, 0));
    Ok(wrapped::code(status.map_err(|e| Fault::io("cannot wait for the command", &e))?))
}

fn names(session: &Session) -> String {
    session.gates.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(",")
}

fn about(session: &Session, runs: &[Run]) -> About {
    let deadlines: Vec<String> = runs.iter().map(|run| run.deadline().to_string()).collect();
    About {
        gates: names(session),
        token: format!("{}:{}", names(session), deadlines.join(",")),
        deadlines: deadlines.join(","),
    }
}

fn report_lines(session: &Session, runs: &[Run], judge: impl Fn(usize) -> (Verdict, u64)) {
    for (at, gate) in session.gates.iter().enumerate() {
        let (verdict, opened_at) = judge(at);
        let run = runs.get(at);
        let closed_at = run.map_or(0, |run| run.closed_at);
        let ended_at = run.map_or(0, |run| run.ended_at);
        let opened_at = if opened_at == 0 { ended_at } else { opened_at };
        let line = Line {
            gate: gate.name.clone(),
            verdict,
            coverage: Coverage::Full,
            generation: gate.page.get().freezes.load(std::sync::atomic::Ordering::Relaxed),
            drain_ns: ended_at.saturating_sub(closed_at),
            held_ns: opened_at.saturating_sub(closed_at),
            procs: session.census.alive(at).count(),
            waiters: run.map_or(0, |run| run.waiters),
            admitted: run.map_or(0, |run| run.admitted),
            escaped: (verdict == Verdict::Escaped) as u32,
            openings: run.map_or(0, |run| run.openings),
        };
        print(&line.to_string());
    }
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
