//! `writegate freeze`: raises the barrier, drains, runs the snapshot command, thaws,
//! and says what the snapshot is worth. Without a command it prints a token for
//! `thaw`.
//!
//! | module | duty |
//! |---|---|
//! | [`args`] | the arguments |
//! | [`wrap_mode`] | with a snapshot command |
//! | [`held_mode`] | without a gate: processes are stopped at rest |
//! | [`token_mode`] | without: a token is printed, and a keeper stays behind |

mod args;
mod held_mode;
mod token_mode;
mod wrap_mode;

pub use args::Args;

use super::arguments::{default_gate, gates, protected_paths, users};
use super::output::say;
use crate::duration;
use crate::evidence::wanted::{Require, Wanted};
use crate::freeze::options::Options;
use crate::freeze::token::Token;
use crate::gatedir::Gate;
use crate::outcome::fault::{self, Fault, Result};
use crate::outcome::syslog;
use std::io::IsTerminal;
use std::time::Duration;

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.limit < Duration::from_millis(1) || args.limit > Duration::from_secs(60) {
        return Err(Fault::new(fault::USAGE, "--limit must be between 1ms and 60s"));
    }
    if args.require.contains(&Require::Quiet) && args.wait_quiet.is_none_or(|t| t.is_zero()) {
        return Err(Fault::new(fault::USAGE, "--require quiet needs --wait-quiet TIME"));
    }
    if args.command.is_empty() && std::env::args_os().next_back().is_some_and(|last| last == "--") {
        return Err(Fault::new(
            fault::USAGE,
            "nothing stands behind `--`: a variable that is empty? Nothing was held. Without `--` a \
             token is printed, for `writegate thaw`",
        ));
    }
    let options = options(args)?;
    refuse_inside_its_own(&options)?;
    let gates = options.gates.join(",");
    if std::io::stderr().is_terminal() {
        say_of_waiting(args, &options);
    }
    let done = if held_mode::is_asked(args) {
        held_mode::freeze(args, options)
    } else if args.command.is_empty() {
        token_mode::freeze(args, options)
    } else {
        wrap_mode::freeze(args, options)
    };
    done.inspect_err(|fault| {
        if fault.code != fault::USAGE {
            syslog::refused(&gates, fault);
        }
    })
}

/// A freeze that a snapshot command starts would wait for the one that waits for that command.
fn refuse_inside_its_own(options: &Options) -> Result<()> {
    let Ok(token) = std::env::var("WRITEGATE_TOKEN").map(|token| Token::parse(&token)) else {
        return Ok(());
    };
    let outer = token.map(|token| token.gates).unwrap_or_default();
    let is_taken = |name: &&String| {
        outer.contains(*name)
            && Gate::open_to_read(name).is_ok_and(|gate| gate.is_locked() == Some(true))
    };
    match options.gates.iter().find(is_taken) {
        None => Ok(()),
        Some(name) => Err(Fault::new(
            fault::USAGE,
            format!(
                "gate {name}: this is run by a freeze of that very gate (WRITEGATE_TOKEN says so), which \
                 waits for it: one of the two is too many. Nothing was held by this one"
            ),
        )),
    }
}

/// To whom sits before it: what it may wait for, before anybody is held.
fn say_of_waiting(args: &Args, options: &Options) {
    for name in &options.gates {
        if Gate::open_to_read(name).is_ok_and(|gate| gate.is_locked() == Some(true)) {
            say(&format!(
                "gate {name}: another freeze has it; waiting for that, --queue {:?} at most",
                args.queue
            ));
        }
    }
    if let Some(patience) = args.wait_quiet {
        say(&format!("waiting for a quiet moment, {patience:?} at most; nobody is held meanwhile"));
    }
}

fn options(args: &Args) -> Result<Options> {
    Ok(Options {
        gates: match held_mode::is_asked(args) {
            true => vec![default_gate()],
            false => gates(&args.gate)?,
        },
        limit_ns: duration::ns(args.limit),
        drain_ns: duration::ns(args.drain),
        retries: args.retries,
        queue_ns: duration::ns(args.queue),
        wait_quiet_ns: args.wait_quiet.map_or(0, duration::ns),
        users: users(&args.users)?,
        evidence: Wanted {
            gather: true,
            paths: protected_paths(args.paths.as_deref())?,
            hold_ungated: args.hold_ungated,
            hold_programs: args.hold_program.clone(),
            sync: args.sync,
            require: args.require.clone(),
            accept: args.accept.clone(),
        },
    })
}
