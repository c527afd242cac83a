//! `writegate completions SHELL`: made from the same definitions as `--help`.

use super::output::print_lines;
use crate::outcome::fault::Result;

/// Print a shell's completions
#[derive(clap::Args)]
#[command(after_help = "Example:
  writegate completions bash > /etc/bash_completion.d/writegate")]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

/// Runs it.
pub fn run(args: &Args, mut definition: clap::Command) -> Result<u8> {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "writegate", &mut bytes);
    print_lines(String::from_utf8_lossy(&bytes).trim_end());
    Ok(0)
}
