//! `writegate setup`: puts the library into a server and takes it out again, to the byte.
//!
//! | module | duty |
//! |---|---|
//! | [`compose`] | the plan for a server or a unit, out of the following |
//! | [`gate_files`] | what every set-up has: configuration, directory, drop-in |
//! | [`postfix`], [`dovecot`], [`exim`] | the server's own setting |
//! | [`plan`] | what a plan is |
//! | [`site`] | the root directory that is set up: files read and written |
//! | [`record`] | what was done, and how it is undone |
//! | [`block`], [`diff`] | a marked block in another's file; a unified diff |
//! | [`list`] | the table of servers |

mod block;
mod compose;
mod diff;
mod dovecot;
mod exim;
mod gate_files;
mod list;
mod plan;
mod postfix;
mod record;
mod site;

use super::library;
use super::output::{print, print_lines, say};
use super::servers::{Server, names, with_setup};
use crate::gatedir;
use crate::outcome::fault::{CONFIG, Fault, Result, USAGE};
use plan::{Inputs, Plan};
use record::Record;
use site::Site;
use std::path::PathBuf;

/// Put the library into a server's start, or take it out again
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate setup dovecot               shows what would be changed, changes nothing
  writegate setup dovecot --install
  writegate setup --all --install
  writegate setup dovecot --remove      every file is then as it was, byte for byte
  writegate setup --list

Nothing is restarted: what must be is said. A setting that somebody else has made is never \
overwritten; the line to add is said instead.")]
pub struct Args {
    #[arg(
        value_name = "SERVER|UNIT",
        required_unless_present_any = ["all", "list"],
        conflicts_with_all = ["all", "list"],
        help = format!("{}, or a systemd unit", names(with_setup()))
    )]
    server: Option<String>,
    /// Every server that is installed here
    #[arg(long)]
    all: bool,
    /// Show the servers that are known instead
    #[arg(long, conflicts_with_all = ["all", "action"])]
    list: bool,
    /// With --list: as JSON (schema 1), with the profiles
    #[arg(long, requires = "list")]
    json: bool,
    /// Show what would be done (the default)
    #[arg(long, group = "action")]
    print: bool,
    /// Do it
    #[arg(long, group = "action")]
    install: bool,
    /// Undo it
    #[arg(long, group = "action")]
    remove: bool,
    /// Gate to put it under (default: the server's name; Exim's must be `default`)
    #[arg(short, long, value_name = "GATE")]
    gate: Option<String>,
    /// The library, as the service will see it
    #[arg(long, value_name = "FILE")]
    library: Option<String>,
    /// Set up a system below this directory (an image, a container)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.list {
        list::show(args.json);
        return Ok(0);
    }
    let site = Site::new(&args.root);
    let names: Vec<String> = match &args.server {
        Some(name) => vec![name.clone()],
        None => with_setup()
            .filter(|server| site.has_any(server.signs))
            .map(|server| server.name.to_owned())
            .collect(),
    };
    if names.is_empty() {
        return Err(Fault::new(CONFIG, "none of the servers that are known is installed here"));
    }
    let mut worst = 0;
    for name in &names {
        match one(args, &site, name) {
            Ok(()) => {}
            // One server's obstacle must not keep the others from being set up.
            Err(fault) if args.all => {
                say(&format!("{name}: {}", fault.message));
                worst = fault.code;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(worst)
}

/// One server or unit.
fn one(args: &Args, site: &Site, name: &str) -> Result<()> {
    let server = with_setup().find(|server| server.name == name);
    let unit = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
    let short = unit.trim_end_matches(".service");
    if short.is_empty() || short.starts_with('.') || short.contains('/') {
        return Err(Fault::new(USAGE, format!("`{name}` is neither a server nor a unit")));
    }
    let record = Record::new(site, server.map_or(short, |server| server.name));
    if args.remove {
        return remove(site, &record, name);
    }
    let inputs = inputs(args, site, server, short)?;
    let plan = match server {
        Some(server) => compose::server(site, server, &inputs)?,
        None => compose::unit(site, &unit, &inputs)?,
    };
    install(&record, name, plan, args.install)
}

/// Shows the plan's changes and makes them, if that is wanted.
fn install(record: &Record<'_>, name: &str, plan: Plan, wanted: bool) -> Result<()> {
    let missing = record.missing(plan.changes)?;
    if missing.is_empty() {
        print(&format!("{name}: set up already, nothing to change"));
        return Ok(());
    }
    print_lines(record.diff(&missing)?.trim_end());
    if wanted {
        record.install(&missing)?;
        print(&format!("{name}: done. Now run:"));
    } else {
        print(&format!("{name}: nothing was changed. With --install, run afterwards:"));
    }
    for command in plan.then {
        print(&format!("  {command}"));
    }
    for note in plan.notes {
        print(&format!("note: {note}"));
    }
    Ok(())
}

fn remove(site: &Site, record: &Record<'_>, name: &str) -> Result<()> {
    let Some(files) = record.restored()? else {
        print(&format!("{name}: nothing was set up by this command"));
        return Ok(());
    };
    for (path, text) in &files {
        let now = site.read(path)?;
        let diff = diff::unified(path, now.as_deref(), text.as_deref());
        if !diff.is_empty() {
            print_lines(diff.trim_end());
        }
    }
    for path in record.remove()? {
        say(&format!(
            "{path} was edited since and is kept: remove it yourself if it is not needed"
        ));
    }
    print(&format!("{name}: undone. Now run: systemctl daemon-reload, and restart the service"));
    Ok(())
}

/// Gate, library and command, as given, else as they are for this server and site.
fn inputs(args: &Args, site: &Site, server: Option<&Server>, unit: &str) -> Result<Inputs> {
    let default = || server.and_then(Server::only_gate).unwrap_or(unit).to_owned();
    let gate = args.gate.clone().unwrap_or_else(default);
    gatedir::check_name(&gate)?;
    let own = site.is_this_machine().then(|| std::env::current_exe().ok()).flatten();
    let command = own.map(|exe| exe.to_string_lossy().into_owned());
    Ok(Inputs {
        gate,
        library: library_for(args, site)?,
        command: command.unwrap_or_else(|| "/usr/bin/writegate".into()),
    })
}

/// Where the library lies for the service.
fn library_for(args: &Args, site: &Site) -> Result<String> {
    if args.library.as_ref().is_some_and(|library| !library.starts_with('/')) {
        return Err(Fault::new(USAGE, "--library must be an absolute path"));
    }
    library::find_below(site.root(), args.library.as_deref())
}
