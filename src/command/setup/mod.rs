//! `writegate setup`: puts the library into a server and takes it out again, to the byte.
//!
//! | module | duty |
//! |---|---|
//! | [`compose`] | the plan for a server or a unit, out of the following |
//! | [`gate_files`] | what every set-up has: configuration, directory, drop-in |
//! | [`hook_conf`] | the gates that backup tools freeze |
//! | [`directories`] | where the server stores: asked of it, written into its profile |
//! | [`server_tool`] | a program of the server's, asked |
//! | [`init_script`] | where there is no systemd |
//! | [`apply`] | what must be run afterwards, and whether it has worked |
//! | [`service`] | whether a unit runs |
//! | [`postfix`], [`dovecot`], [`exim`] | the server's own setting |
//! | [`instances`], [`main_cf`] | Postfix's configuration directories; their syntax |
//! | [`plan`] | what a plan is |
//! | [`site`] | the root directory that is set up: files read and written |
//! | [`record`] | what was done, and how it is undone |
//! | [`block`], [`diff`] | a marked block in another's file; a unified diff |
//! | [`list`] | the table of servers |

mod apply;
mod block;
mod compose;
mod diff;
mod directories;
mod dovecot;
mod exim;
mod gate_files;
mod hook_conf;
mod init_script;
pub mod instances;
mod list;
mod main_cf;
mod plan;
mod postfix;
mod record;
mod server_tool;
mod service;
mod site;

use super::library;
use super::output::{print, print_lines, say};
use super::servers::{Server, names, with_setup};
use crate::gatedir;
use crate::outcome::fault::{CONFIG, Fault, PERMISSION, Result, USAGE};
use plan::{Inputs, Plan};
use record::Record;
use site::Site;
use std::path::PathBuf;

/// Put the library into a server's start, or take it out again
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate setup dovecot               shows what would be changed, changes nothing
  writegate setup dovecot --install --apply   restarts it, and ends with a freeze
  writegate setup --all --install
  writegate setup dovecot --remove      every file is then as it was, byte for byte
  writegate setup --list

Without --apply nothing is restarted: what must be is said. A setting that somebody else has made is never \
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
    /// Run what must be run afterwards, too: reload, restart, and a look whether it works
    #[arg(long, conflicts_with_all = ["print", "list"])]
    apply: bool,
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
    if !args.root.is_dir() {
        let what = format!("--root: there is no directory {}", args.root.display());
        return Err(Fault::new(USAGE, what));
    }
    may_change(args, &site)?;
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

/// Says before anything else what cannot be done here.
fn may_change(args: &Args, site: &Site) -> Result<()> {
    if args.apply && !(args.install || args.remove) {
        return Err(Fault::new(USAGE, "--apply goes with --install or --remove"));
    }
    if args.apply && !site.is_this_machine() {
        return Err(Fault::new(
            USAGE,
            "--apply restarts services of this machine: not with --root",
        ));
    }
    let changes = args.install || args.remove;
    if changes && site.is_this_machine() && !nix::unistd::geteuid().is_root() {
        return Err(Fault::new(
            PERMISSION,
            "you are not root: `setup` changes files below /etc and restarts services. Run it with \
             sudo; without --install it only shows what it would do",
        ));
    }
    Ok(())
}

/// One server or unit.
fn one(args: &Args, site: &Site, name: &str) -> Result<()> {
    let server = with_setup().find(|server| is_called(server, name));
    let unit = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
    let short = unit.trim_end_matches(".service");
    if short.is_empty() || short.starts_with('.') || short.contains('/') {
        return Err(Fault::new(USAGE, format!("`{name}` is neither a server nor a unit")));
    }
    let mut record = Record::new(site, server.map_or(short, |server| server.name));
    if args.remove {
        // One of before a unit's name meant its server.
        if record.restored()?.is_none() {
            record = Record::new(site, short);
        }
        if record.restored()?.is_none() && server.is_none() {
            compose::check_exists(site, server, &unit)?;
        }
        return remove(args, site, &record, name);
    }
    // A name with a typo is said before what the library lacks.
    compose::check_exists(site, server, &unit)?;
    let inputs = inputs(args, site, server, server.map_or(short, |server| server.name))?;
    let mut plan = match server {
        Some(server) => compose::server(site, server, &inputs)?,
        None => compose::unit(site, &unit, &inputs)?,
    };
    plan.to_mend.extend(inputs.library_to_do);
    install(args, &record, name, &inputs.gate, plan)
}

/// By its name, in whatever case, or by one of its units: `exim4`, `cyrus-imapd.service`.
fn is_called(server: &Server, name: &str) -> bool {
    let bare = |unit: &str| unit.trim_end_matches(".service").to_ascii_lowercase();
    let name = bare(name);
    name == server.name || server.units.iter().any(|unit| bare(unit) == name)
}

/// Shows the plan's changes and makes them, if that is wanted.
fn install(args: &Args, record: &Record<'_>, name: &str, gate: &str, mut plan: Plan) -> Result<()> {
    let missing = record.missing(std::mem::take(&mut plan.changes))?;
    let say_what_to_mend = || plan.to_mend.iter().for_each(|said| say(&format!("{name}: {said}")));
    if missing.is_empty() {
        print(&format!("{name}: set up already, nothing to change"));
        say_what_to_mend();
        if !args.apply {
            return Ok(());
        }
        // The files may be there and the service not restarted since.
        return match apply::is_done(&plan.check) {
            true => apply::check(&plan, gate),
            false => apply::carry_out(&plan, name, gate),
        };
    }
    print_lines(record.diff(&missing)?.trim_end());
    if args.install {
        record.install(&missing, &plan.then_undo)?;
    }
    for note in &plan.notes {
        print(&format!("note: {note}"));
    }
    say_what_to_mend();
    if args.apply {
        return apply::carry_out(&plan, name, gate);
    }
    print(&match args.install {
        true => format!("{name}: the files are changed. Now run (--apply does it):"),
        false => format!("{name}: nothing was changed. With --install, run afterwards:"),
    });
    for command in &plan.then {
        print(&format!("  {command}"));
    }
    print(&format!("  writegate {}", plan.check.join(" ")));
    Ok(())
}

fn remove(args: &Args, site: &Site, record: &Record<'_>, name: &str) -> Result<()> {
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
    let then = record.commands_of_undoing()?;
    for path in record.remove()? {
        say(&format!(
            "{path} was edited since and is kept: remove it yourself if it is not needed"
        ));
    }
    if args.apply {
        apply::run(&then)?;
        print(&format!("{name}: undone"));
        return Ok(());
    }
    print(&format!("{name}: the files are as they were. Now run (--apply does it):"));
    for command in &then {
        print(&format!("  {command}"));
    }
    Ok(())
}

/// Gate, library and command, as given, else as they are for this server and site.
fn inputs(args: &Args, site: &Site, server: Option<&Server>, name: &str) -> Result<Inputs> {
    let default = || server.and_then(Server::only_gate).unwrap_or(name).to_owned();
    let gate = args.gate.clone().unwrap_or_else(default);
    gatedir::check_name(&gate)?;
    let library::Below { path: library, to_do } = library_for(args, site)?;
    if site.is_this_machine() {
        library::trial::check(&library)?;
    }
    let mut command = "/usr/bin/writegate".to_owned();
    if let Some(own) = site.is_this_machine().then(library::command).flatten() {
        // Root's unit runs it.
        library::trust::check(site.root(), &own)?;
        command = own.to_string_lossy().into_owned();
    }
    Ok(Inputs { gate, library, library_to_do: to_do, command })
}

/// Where the library lies for the service.
fn library_for(args: &Args, site: &Site) -> Result<library::Below> {
    if args.library.as_ref().is_some_and(|library| !library.starts_with('/')) {
        return Err(Fault::new(USAGE, "--library must be an absolute path"));
    }
    library::find_below(site.root(), args.library.as_deref())
}
