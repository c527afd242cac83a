//! The command line: its definition, the dispatch, and the exit code of each end.

use super::output::{self, say};
use super::{completions, doctor, exec, freeze, hook, leave_gate, man, rehearse, setup};
use super::{status, thaw, usage_tips};
use crate::gatedir;
use crate::linux::descriptors;
use crate::outcome::exit;
use crate::outcome::fault::{self, Result};
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Holds an unmodified mail server's writes back for the moment of a snapshot.
#[derive(Parser)]
#[command(
    name = "writegate",
    version,
    about = "Holds an unmodified mail server's writes back for the moment of a snapshot, and says \
             whether the snapshot can be trusted",
    after_help = exit::help()
)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

/// The one list of subcommands: help, manual pages and completions are made from it.
#[derive(Subcommand)]
enum Commands {
    Freeze(Box<freeze::Args>),
    Thaw(thaw::Args),
    Status(status::Args),
    Rehearse(rehearse::Args),
    Exec(exec::Args),
    Doctor(doctor::Args),
    Setup(setup::Args),
    Hook(hook::Args),
    Man(man::Args),
    Completions(completions::Args),
}

/// Parses, runs, and turns every outcome into an exit code.
pub fn main() -> ExitCode {
    leave_gate::leave();
    descriptors::allow_most();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let given = std::env::args_os().skip(1);
            let given: Vec<String> = given.map(|word| word.to_string_lossy().into()).collect();
            let of_command = Cli::command();
            let all = of_command.get_subcommands().map(|sub| sub.get_name().to_owned());
            let e = usage_tips::mend(e, &given, &all.collect::<Vec<_>>());
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { fault::USAGE } else { 0 });
        }
    };
    match run(cli.command) {
        Ok(0) if output::is_lost() => {
            output::say("what was to be written could not be: closed, full, or not read");
            ExitCode::from(exit::OUTPUT)
        }
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            say(&fault.message);
            ExitCode::from(fault.code)
        }
    }
}

fn run(command: Commands) -> Result<u8> {
    gatedir::check_root()?;
    match command {
        Commands::Freeze(args) => freeze::run(&args),
        Commands::Thaw(args) => thaw::run(&args),
        Commands::Status(args) => status::run(&args),
        Commands::Rehearse(args) => rehearse::run(&args),
        Commands::Exec(args) => exec::run(&args),
        Commands::Doctor(args) => doctor::run(&args),
        Commands::Setup(args) => setup::run(&args),
        Commands::Hook(args) => hook::run(&args),
        Commands::Man(args) => man::run(&args, Cli::command()),
        Commands::Completions(args) => completions::run(&args, Cli::command()),
    }
}
