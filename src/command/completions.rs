//! `writegate completions SHELL`: made from the same definitions as `--help`, with the names that stand
//! in tables of this command; the gates are asked for when they are needed.

use super::output::{print, print_lines};
use super::servers::{SERVERS, with_setup};
use super::{hook, man};
use crate::gatedir;
use crate::outcome::fault::Result;
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command};
use clap_complete::Shell;

/// Print a shell's completions
#[derive(clap::Args)]
#[command(after_help = "Example:
  writegate completions bash > /etc/bash_completion.d/writegate")]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    #[arg(required_unless_present = "gates")]
    shell: Option<Shell>,
    /// Print the gates that there are instead, one a line: a shell's completions ask for them
    #[arg(long, conflicts_with = "shell")]
    gates: bool,
}

/// Stands in a script where the gates are to be asked for.
const GATES: &str = "WRITEGATE_GATES_HERE";
/// Asks for them.
const ASK: &str = "writegate completions --gates 2>/dev/null";

/// Runs it.
pub fn run(args: &Args, definition: Command) -> Result<u8> {
    let Some(shell) = args.shell.filter(|_| !args.gates) else {
        // A shell expands what it is given: what cannot be a gate's name is none.
        let names = gatedir::names().into_iter().filter(|name| gatedir::check_name(name).is_ok());
        names.for_each(|name| print(&name));
        return Ok(0);
    };
    let mut definition = with_names(definition, can_ask(shell));
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut definition, "writegate", &mut bytes);
    let mut script = asking(shell, &String::from_utf8_lossy(&bytes));
    if shell == Shell::Fish {
        script += &arguments_for_fish(&definition);
    }
    print_lines(script.trim_end());
    Ok(0)
}

/// Subcommand, its argument, and the names that this may have.
fn named(definition: &Command) -> [(&'static str, &'static str, Vec<&'static str>); 4] {
    // clap wants names that live as long as the program; there are a dozen.
    let pages = man::pages(definition).into_iter().map(|page| &*page.leak()).collect();
    [
        ("hook", "name", hook::names().collect()),
        ("setup", "server", with_setup().map(|server| server.name).collect()),
        ("doctor", "unit", SERVERS.iter().map(|server| server.name).collect()),
        ("man", "page", pages),
    ]
}

/// clap names an option's values to fish, and no argument's.
fn arguments_for_fish(definition: &Command) -> String {
    let line = |(subcommand, _, names): (&str, &str, Vec<&str>)| {
        let names = names.join(" ");
        format!(
            "complete -c writegate -n \"__fish_seen_subcommand_from {subcommand}\" -f -a \"{names}\"\n"
        )
    };
    named(definition).map(line).concat()
}

/// The definition, where an argument that names something has its names.
fn with_names(definition: Command, gates: bool) -> Command {
    let named = named(&definition);
    let with_gates = definition.mut_subcommands(|subcommand| {
        let has_gate = subcommand.get_arguments().any(|argument| argument.get_id() == "gate");
        match gates && has_gate {
            true => subcommand.mut_arg("gate", |gate| names(gate, vec![GATES])),
            false => subcommand,
        }
    });
    named.into_iter().fold(with_gates, |definition, (subcommand, argument, values)| {
        definition.mut_subcommand(subcommand, |subcommand| {
            subcommand.mut_arg(argument, |argument| names(argument, values))
        })
    })
}

fn names(argument: Arg, names: Vec<&'static str>) -> Arg {
    argument.value_parser(PossibleValuesParser::new(names))
}

/// Is it known how this shell asks?
fn can_ask(shell: Shell) -> bool {
    matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish)
}

/// The script, with the question in its place.
fn asking(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => script.replace(GATES, &format!("$({ASK})")),
        // As clap writes a list of words there, and a word without a description.
        Shell::Zsh => {
            script.replace(&format!("({GATES})"), &format!("{{compadd -- ${{(f)\"$({ASK})\"}}}}"))
        }
        Shell::Fish => script.replace(&format!("{GATES}\\t''"), &format!("({ASK})")),
        _ => script.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_script_keeps_the_place_of_the_gates() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let gate = Arg::new("gate").short('g').long("gate");
            let freeze = Command::new("freeze").arg(gate);
            let arguments =
                [("hook", "name"), ("setup", "server"), ("doctor", "unit"), ("man", "page")];
            let others =
                arguments.map(|(name, argument)| Command::new(name).arg(Arg::new(argument)));
            let mut whole = with_names(
                Command::new("writegate").subcommand(freeze).subcommands(others),
                can_ask(shell),
            );
            let mut bytes = Vec::new();
            clap_complete::generate(shell, &mut whole, "writegate", &mut bytes);
            let script = asking(shell, &String::from_utf8(bytes).unwrap());
            assert!(!script.contains(GATES), "{shell}: {script}");
            assert_eq!(script.contains(ASK), can_ask(shell), "{shell}: {script}");
        }
    }
}
