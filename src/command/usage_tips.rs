//! What a mistake on the command line most likely means, where clap's own tip would lead astray.

use crate::gatedir;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Subcommands whose own program and arguments stand behind `--`.
const WITH_COMMAND: [&str; 2] = ["freeze", "exec"];

/// The error as it is shown. `arguments`: as they were given, without this command's name.
pub fn mend(mut error: Error, arguments: &[String]) -> Error {
    let subcommand = arguments.first().map_or("", String::as_str);
    let tip = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => {
            unknown(subcommand, word, arguments)
        }
        (ErrorKind::MissingRequiredArgument, _) => missing(subcommand),
        _ => return error,
    };
    // clap proposes to hide an unknown option behind `--`, where it would become a snapshot command.
    error.remove(ContextKind::Suggested);
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

fn unknown(subcommand: &str, word: &str, arguments: &[String]) -> Option<String> {
    if word.starts_with('-') {
        return Some(format!("`writegate {subcommand} --help` lists its options"));
    }
    let is_gate = gatedir::names().iter().any(|gate| gate == word);
    if is_gate || subcommand == "status" || subcommand == "rehearse" {
        return Some(format!("a gate is named with -g: writegate {subcommand} -g {word}"));
    }
    if !WITH_COMMAND.contains(&subcommand) {
        return None;
    }
    let at = arguments.iter().position(|argument| argument == word)?;
    let words =
        |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let command = arguments[at..].iter().filter(|word| *word != "--").cloned().collect::<Vec<_>>();
    Some(format!(
        "the program to run stands behind `--`: writegate {} -- {}",
        words(&arguments[..at]),
        words(&command)
    ))
}

fn missing(subcommand: &str) -> Option<String> {
    let tip = match subcommand {
        "setup" => "`writegate setup --list` shows the servers that are known",
        "thaw" => {
            "TOKEN is what `writegate freeze` printed; without it the gate opens by itself at the \
             freeze's limit"
        }
        "exec" => "the program to run stands behind `--`: writegate exec -g GATE -- PROGRAM",
        _ => return None,
    };
    Some(tip.into())
}

/// As a shell would take it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_program_belongs_behind_two_dashes() {
        let line = given("freeze -g no-such-gate lvcreate -s vg/mail");
        assert_eq!(
            unknown("freeze", "lvcreate", &line).unwrap(),
            "the program to run stands behind `--`: writegate freeze -g no-such-gate -- lvcreate -s vg/mail"
        );
        let tip = unknown("status", "mail", &given("status mail")).unwrap();
        assert_eq!(tip, "a gate is named with -g: writegate status -g mail");
        assert!(unknown("hook", "two", &given("hook one two")).is_none());
        assert_eq!(quoted("a b"), "'a b'");
    }
}
