//! `writegate doctor`: which processes are gated, which are not, why, and the cure.
//!
//! | module | duty |
//! |---|---|
//! | [`selection`] | which processes are looked at |
//! | [`observation`], [`observe`] | what is seen of one process; the looking itself, which may hang |
//! | [`inline_calls`] | system calls in a program's text, past libc |
//! | [`gate_survey`] | the gate's page, profile and members |
//! | [`lasting_locks`] | locks that would keep a freeze from draining |
//! | [`unit_settings`] | what a unit's settings mean here |
//! | [`own_rights`] | what the doctor itself may not do |
//! | [`diagnosis`] | membership, cause, sentence and cure of one process |
//! | [`diagnose`], [`detached`], [`not_loaded`] | from what was seen to the diagnosis |
//! | [`cures`] | cures that depend on the unit or the server |
//! | [`survey`] | all of this for all processes, and the exit code |
//! | [`second_look`] | all of this again, where a process may have been met in its start |
//! | [`report`] | the table and the JSON |
//! | [`hooked_calls`] | the table of hooked calls |

mod at_rest;
mod cures;
mod detached;
mod diagnose;
mod diagnosis;
mod gate_survey;
mod hooked_calls;
mod inline_calls;
mod lasting_locks;
mod not_loaded;
mod observation;
mod observe;
pub mod own_rights;
mod report;
mod second_look;
mod selection;
mod survey;
mod unit_settings;

use super::arguments;
use super::servers::{SERVERS, names};
use crate::command::output::print;
use crate::outcome::fault::Result;
use gate::layout::{FORMAT, LAYOUT};
use selection::Selection;
use std::path::PathBuf;

/// Say which processes are gated, which are not, why, and the cure
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate doctor -g mail
  writegate doctor dovecot.service
  writegate doctor --pid 1234

Exit codes: 0 a freeze could be trusted; 65 a process is not gated; 69 no process is there; 77 a \
process could not be looked into; 78 the gate itself is not as it must be.")]
pub struct Args {
    #[arg(
        value_name = "UNIT",
        conflicts_with = "pid",
        help = format!("A systemd unit (or {})", names(&SERVERS))
    )]
    unit: Option<String>,
    /// A process, with all its descendants
    #[arg(long, value_name = "PID", value_parser = arguments::whole_number::<i32>)]
    pid: Option<i32>,
    /// The gate (default: the one that the processes' environment names)
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Option<String>,
    /// Say what is harmless here, too
    #[arg(short, long)]
    verbose: bool,
    /// As JSON (schema 1)
    #[arg(long)]
    json: bool,
    /// Print the table of hooked calls instead
    #[arg(long)]
    calls: bool,
    /// Print the layout of shared memory that this command understands instead
    #[arg(long, hide = true)]
    layout: bool,
    /// Where units and configuration lie, for another root directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.calls {
        hooked_calls::show(args.json);
        return Ok(0);
    }
    if args.layout {
        print(&format!("layout {LAYOUT:08x} format {FORMAT}"));
        return Ok(0);
    }
    let selection = match (&args.unit, args.pid) {
        (Some(unit), _) => Selection::Unit(unit.clone()),
        (None, Some(pid)) => Selection::Tree(pid),
        (None, None) => Selection::Gate,
    };
    let survey = second_look::survey(&selection, args.gate.as_deref(), &args.root)?;
    let at_rest = at_rest::of(&survey, &selection);
    if args.json {
        report::json(&survey, at_rest.as_ref());
    } else {
        report::table(&survey, at_rest.as_ref(), args.verbose);
    }
    Ok(survey.code())
}
