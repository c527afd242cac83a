//! `writegate exec`: runs a program gated: a daemon, `doveadm`, `reconstruct`.

use super::{arguments, library};
use crate::command::output::say;
use crate::foreign_text::ForeignText;
use crate::freeze::preload;
use crate::freeze::wrapped::in_quotes;
use crate::gatedir::{self, Gate};
use crate::linux::directory;
use crate::outcome::fault::{self, Fault, Result};
use gate::profile::{self, Key};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// Run a program gated, making the gate if it is not there
#[derive(clap::Args)]
#[command(after_help = "Example:\n  writegate exec -g mail -- reconstruct -r user.bob")]
pub struct Args {
    /// Gate to run under
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Option<String>,
    /// Protected directories, separated by colons (default: all storage)
    #[arg(long, value_name = "DIR:DIR")]
    paths: Option<String>,
    /// Profile to publish when the gate is made (default: /etc/writegate/GATE.conf)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The library (default: the one that is installed with this command)
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs it; returns only if it could not be run.
pub fn run(args: &Args) -> Result<u8> {
    let gate = args.gate.clone().unwrap_or_else(arguments::default_gate);
    let profile = gatedir::profile(&gate, args.config.as_deref())?;
    Gate::open_or_create(&gate, &profile)?;
    say_missing(&gate, args.paths.as_deref(), &profile)?;
    let library = library::find(args.library.as_deref())?;
    let mut preload = library.into_os_string();
    if let Some(others) =
        std::env::var("LD_PRELOAD").ok().and_then(|value| preload::without_us(&value))
    {
        preload.push(":");
        preload.push(others);
    }
    let program = &args.command[0];
    let mut command = std::process::Command::new(program);
    command
        .args(&args.command[1..])
        .env("LD_PRELOAD", preload)
        .env("WRITEGATE_GATE", &gate)
        .env("WRITEGATE_DIR", gatedir::root());
    if let Some(paths) = &args.paths {
        command.env("WRITEGATE_PATHS", paths);
    }
    let e = command.exec();
    let (code, why) = match e.kind() {
        std::io::ErrorKind::NotFound => {
            (fault::NOT_FOUND, format!("not found{}", in_quotes(Path::new(program))))
        }
        _ => (fault::NOT_EXECUTABLE, e.to_string()),
    };
    Err(Fault::new(code, format!("cannot run {}: {why}", program.to_string_lossy())))
}

/// A directory that is not there may come later, and a freeze is refused until it does: said at once.
fn say_missing(gate: &str, given: Option<&str>, profile: &str) -> Result<()> {
    for dir in arguments::protected_paths(given)?
        .into_iter()
        .chain(profile::values(profile, Key::Path).map(PathBuf::from))
    {
        if let Err(why) = directory::open(Path::new("/"), &dir) {
            let shown = ForeignText::of_path(&dir);
            say(&format!(
                "gate {gate}: {shown} is named as protected and is not there: {why}; a freeze is \
                 refused until it is"
            ));
        }
    }
    Ok(())
}
