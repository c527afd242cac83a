//! The command line: one file a subcommand, one enum, one dispatch.

mod completions;
mod doctor;
mod exec;
mod freeze;
mod hook;
mod man;
mod rehearse;
mod setup;
mod status;
mod thaw;

use crate::outcome::exit;
use crate::outcome::fault::{self, Result};
use crate::outcome::finding::FindingKind;
use crate::outcome::record::Record;
use crate::outcome::verdict::Verdict;
use clap::{Parser, Subcommand};
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

#[derive(Subcommand)]
enum Commands {
    Freeze(freeze::Args),
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
    leave_the_gate();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { fault::USAGE } else { 0 });
        }
    };
    let done: Result<u8> = match cli.command {
        Commands::Freeze(args) => freeze::run(&args),
        Commands::Thaw(args) => thaw::run(&args),
        Commands::Status(args) => status::run(&args),
        Commands::Rehearse(args) => rehearse::run(&args),
        Commands::Exec(args) => exec::run(&args),
        Commands::Doctor(args) => doctor::run(&args),
        Commands::Setup(args) => setup::run(&args),
        Commands::Hook(args) => hook::run(&args),
        Commands::Man(args) => man::run(&args),
        Commands::Completions(args) => completions::run(&args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            say(&fault.message);
            ExitCode::from(fault.code)
        }
    }
}

/// What `man` and `completions` are made from.
pub fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// A freezer must not wait at the barrier that it raised: started from a gated
/// shell it starts again without the library.
fn leave_the_gate() {
    use std::os::unix::process::CommandExt;
    let Some(preload) = std::env::var("LD_PRELOAD").ok() else { return };
    if !preload.contains("libwritegate.so") {
        return;
    }
    let mut again = std::process::Command::new("/proc/self/exe");
    again.args(std::env::args_os().skip(1));
    match crate::freeze::preload::without_us(&preload) {
        Some(others) => again.env("LD_PRELOAD", others),
        None => again.env_remove("LD_PRELOAD"),
    };
    // If it cannot be, we go on as we are: the lease bounds what may go wrong.
    let _ = again.exec();
}

/// A line for the person who watches; never an error of its own.
pub fn say(message: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "writegate: {message}");
}

/// A line of the result, on stdout; never an error of its own.
pub fn print(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a record: what was noted and found on stderr, one line a gate on stdout,
/// and the whole of it to `report`.
pub fn show(record: &Record, report: Option<&std::path::Path>) {
    for note in &record.notes {
        say(note);
    }
    for gate in &record.gates {
        let name = &gate.line.gate;
        if record.verdict == Verdict::NotDrained {
            say(&format!("gate {name}: not drained; nothing is held any longer. In flight:"));
            if gate.blockers.is_empty() {
                say("  nobody (it was a matter of moments: a longer --drain may do)");
            }
        }
        for blocker in gate.blockers.iter().take(20) {
            say(&format!("  {blocker}"));
        }
        if gate.line.verdict == Verdict::Expired {
            say(&format!(
                "gate {name}: the limit of {:.0} ms passed before the thaw: writers went on, do \
                 not trust the snapshot. Take less time, or a longer -t",
                record.limit_ms
            ));
        }
        for finding in &gate.findings {
            let trusted = matches!(
                finding.kind,
                FindingKind::Unchecked | FindingKind::HeldWithLock | FindingKind::Dotlock
            );
            if !trusted {
                say(&format!("gate {name}: {finding}"));
            }
        }
    }
    if let Some(path) = report
        && let Err(fault) = record.write(path)
    {
        say(&fault.message);
    }
    for gate in &record.gates {
        print(&gate.line.to_string());
    }
}

/// The gates named on the command line, else `$WRITEGATE_GATE`, else `default`.
pub fn gates(given: &[String]) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let named = std::env::var("WRITEGATE_GATE").ok().filter(|name| !name.is_empty());
    vec![named.unwrap_or_else(|| "default".into())]
}
