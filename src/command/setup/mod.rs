//! `writegate setup`: puts the library into a server and takes it out again, to the byte.
//!
//! | module | duty |
//! |---|---|
//! | [`servers`] | what each server needs |
//! | [`postfix`], [`dovecot`], [`exim`] | the server's own setting |
//! | [`plan`] | changes on disk: shown, done, recorded, undone |
//! | [`block`], [`diff`] | a marked block in somebody else's file; a unified diff |

mod block;
mod diff;
mod dovecot;
mod exim;
mod plan;
mod postfix;
mod servers;

use super::{print, say};
use crate::gatedir;
use crate::outcome::fault::{CONFIG, Fault, Result, USAGE};
use plan::Site;
use servers::{Plan, SERVERS, With};
use std::path::{Path, PathBuf};

/// Put the library into a server's start, or take it out again
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate setup dovecot               shows what would be changed, changes nothing
  writegate setup dovecot --install
  writegate setup --all --install
  writegate setup dovecot --remove      every file is then as it was, byte for byte

Nothing is restarted: what must be is said. A setting that somebody else has made is never \
overwritten; the line to add is said instead.")]
pub struct Args {
    /// cyrus, dovecot, postfix, exim, or a systemd unit
    #[arg(value_name = "SERVER|UNIT", required_unless_present = "all", conflicts_with = "all")]
    server: Option<String>,
    /// Every server that is installed here
    #[arg(long)]
    all: bool,
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
    let names: Vec<String> = match &args.server {
        Some(name) => vec![name.clone()],
        None => {
            let there = |s: &&servers::Server| s.is_there(&Site::new(&args.root, s.name));
            SERVERS.iter().filter(there).map(|server| server.name.to_owned()).collect()
        }
    };
    if names.is_empty() {
        return Err(Fault::new(CONFIG, "none of the servers that are known is installed here"));
    }
    let mut worst = 0;
    for name in &names {
        match one(args, name) {
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

fn one(args: &Args, name: &str) -> Result<()> {
    let server = SERVERS.iter().find(|server| server.name == name);
    let unit = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
    let short = unit.trim_end_matches(".service").to_owned();
    if short.is_empty() || short.starts_with('.') || short.contains('/') {
        return Err(Fault::new(USAGE, format!("`{name}` is neither a server nor a unit")));
    }
    let site = Site::new(&args.root, server.map_or(short.as_str(), |s| s.name));
    if args.remove {
        return remove(&site, name);
    }
    let here = args.root == Path::new("/");
    let gate = args.gate.clone().unwrap_or_else(|| match name {
        "exim" => "default".into(),
        _ => short.clone(),
    });
    gatedir::check_name(&gate)?;
    let library = library(args, here)?;
    let command = if here {
        std::env::current_exe().ok().map(|exe| exe.to_string_lossy().into_owned())
    } else {
        None
    };
    let command = command.unwrap_or_else(|| "/usr/bin/writegate".into());
    let with = With { gate: &gate, library: &library, command: &command, here };
    let Plan { changes, then, notes } = match server {
        Some(server) => server.plan(&site, &args.root, &with)?,
        None => servers::unknown(&site, &args.root, &unit, &with)?,
    };
    let missing = site.missing(changes)?;
    if missing.is_empty() {
        print(&format!("{name}: set up already, nothing to change"));
        return Ok(());
    }
    print(site.diff(&missing)?.trim_end());
    if args.install {
        site.install(&missing)?;
        print(&format!("{name}: done. Now run:"));
    } else {
        print(&format!("{name}: nothing was changed. With --install, run afterwards:"));
    }
    for command in then {
        print(&format!("  {command}"));
    }
    for note in notes {
        print(&format!("note: {note}"));
    }
    Ok(())
}

fn remove(site: &Site, name: &str) -> Result<()> {
    let Some(files) = site.undone()? else {
        print(&format!("{name}: nothing was set up by this command"));
        return Ok(());
    };
    for (path, text) in &files {
        let now = site.read(path)?;
        let diff = diff::unified(path, now.as_deref(), text.as_deref());
        if !diff.is_empty() {
            print(diff.trim_end());
        }
    }
    for path in site.remove()? {
        say(&format!(
            "{path} was edited since and is kept: remove it yourself if it is not needed"
        ));
    }
    print(&format!("{name}: undone. Now run: systemctl daemon-reload, and restart the service"));
    Ok(())
}

/// Where the library lies for the service.
fn library(args: &Args, here: bool) -> Result<String> {
    if let Some(library) = &args.library {
        if !library.starts_with('/') {
            return Err(Fault::new(USAGE, "--library must be an absolute path"));
        }
        return Ok(library.clone());
    }
    if here {
        return Ok(super::exec::library(None)?.to_string_lossy().into_owned());
    }
    let dir = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    Ok(format!("{dir}/libwritegate.so"))
}
