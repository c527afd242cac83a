//! What a mistake on the command line most likely means, where clap's own tip would lead astray.

use crate::gatedir;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Subcommands whose own program and arguments stand behind `--`.
const WITH_COMMAND: [&str; 2] = ["freeze", "exec"];

/// Words of other tools, and what does here what they say. clap proposes `freeze` for `unfreeze`.
const NO_SUBCOMMANDS: [(&[&str], &str); 7] = [
    (
        &["install", "enable", "start", "add"],
        "`writegate setup SERVER --install --apply` puts the library in front of a server",
    ),
    (
        &["uninstall", "remove", "disable", "purge"],
        "`writegate setup SERVER --remove --apply` takes the library out of a server",
    ),
    (
        &["unfreeze", "resume", "open", "release", "cancel", "abort", "stop"],
        "`writegate thaw TOKEN` opens what a freeze has closed; without it the gate opens by itself at \
         the limit",
    ),
    (
        &["snapshot", "snap", "backup", "run", "close"],
        "`writegate freeze -g GATE -- COMMAND` runs a snapshot command with the gate closed",
    ),
    (
        &["list", "ls", "show", "history", "log", "info"],
        "`writegate status` shows the gates, `writegate setup --list` the servers that are known",
    ),
    (
        &["check", "diagnose", "verify", "test", "try"],
        "`writegate doctor` says who is gated and who is not, `writegate rehearse` whether it drains",
    ),
    (&["version"], "`writegate --version`"),
];

/// The same for options, each of a subcommand. clap proposes `--install` for `--uninstall`.
const NO_OPTIONS: [(&str, &[&str], &str); 5] = [
    (
        "setup",
        &["--uninstall", "--undo", "--delete", "--disable", "--purge"],
        "`--remove` undoes a set-up, to the byte",
    ),
    (
        "setup",
        &["--dry-run", "--diff", "--check"],
        "`--print`, the default, only shows what would be done",
    ),
    (
        "freeze",
        &["--timeout", "--max", "--wait"],
        "`-t TIME` limits how long writers wait, `--drain TIME` an attempt, `--queue TIME` the wait for \
         another freeze",
    ),
    (
        "freeze",
        &["--name", "--server", "--service"],
        "a gate is named with `-g GATE`; `--unit UNIT` needs none",
    ),
    (
        "thaw",
        &["-g", "--gate", "--token", "-t"],
        "a token alone says which freeze ends: `writegate thaw TOKEN`, as `writegate freeze` printed it",
    ),
];

/// The error as it is shown. `arguments`: as they were given, without this command's name;
/// `subcommands`: all there are.
pub fn mend(mut error: Error, arguments: &[String], subcommands: &[String]) -> Error {
    let word =
        match error.get(ContextKind::InvalidArg).or(error.get(ContextKind::InvalidSubcommand)) {
            Some(ContextValue::String(word)) => word.clone(),
            _ => String::new(),
        };
    let subcommand = arguments.first().map_or("", String::as_str);
    let tip = match error.kind() {
        ErrorKind::UnknownArgument => {
            misplaced(arguments, subcommands).or_else(|| unknown(subcommand, &word, arguments))
        }
        ErrorKind::InvalidSubcommand => {
            let meant = NO_SUBCOMMANDS.iter().find(|(words, _)| words.contains(&word.as_str()));
            meant.map(|(_, tip)| (*tip).to_owned())
        }
        ErrorKind::MissingRequiredArgument => missing(subcommand),
        _ => return error,
    };
    // clap proposes to hide an unknown option behind `--`, where it would become a snapshot command.
    error.remove(ContextKind::Suggested);
    let Some(tip) = tip else { return error };
    if in_other_words(subcommand, &word).is_some() {
        error.remove(ContextKind::SuggestedArg);
    }
    error.remove(ContextKind::SuggestedSubcommand);
    let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
    error.insert(ContextKind::Suggested, tips);
    error
}

/// An option that stands before the subcommand.
fn misplaced(arguments: &[String], subcommands: &[String]) -> Option<String> {
    let at = arguments.iter().position(|word| subcommands.contains(word))?;
    let leads = arguments.first().is_some_and(|first| first.starts_with('-'));
    leads.then(|| {
        let (before, after) = (words(&arguments[..at]), words(&arguments[at + 1..]));
        format!("options stand behind the subcommand: writegate {} {before} {after}", arguments[at])
            .trim_end()
            .to_owned()
    })
}

fn in_other_words(subcommand: &str, word: &str) -> Option<&'static str> {
    let is_it =
        |(of, words, _): &&(&str, &[&str], &str)| *of == subcommand && words.contains(&word);
    NO_OPTIONS.iter().find(is_it).map(|(.., tip)| *tip)
}

fn unknown(subcommand: &str, word: &str, arguments: &[String]) -> Option<String> {
    if let Some(tip) = in_other_words(subcommand, word) {
        return Some(tip.into());
    }
    if let Some(option) = word.strip_prefix('-') {
        let is_number = option.starts_with(|c: char| c.is_ascii_digit());
        return Some(match is_number {
            true => "no number and no time here is below 0".into(),
            false => format!("`writegate {subcommand} --help` lists its options"),
        });
    }
    let at = arguments.iter().position(|argument| argument == word)?;
    let before = at.checked_sub(1).map_or("", |before| arguments[before].as_str());
    if ["us", "ms", "s", "m"].contains(&word) && before.parse::<f64>().is_ok() {
        return Some(format!("a number and its unit are one word: {before}{word}"));
    }
    let (head, tail) = (words(&arguments[..at]), &arguments[at + 1..]);
    let is_gate = gatedir::names().iter().any(|gate| gate == word);
    if is_gate || subcommand == "status" || subcommand == "rehearse" {
        let line = format!("writegate {head} -g {} {}", quoted(word), words(tail));
        return Some(format!("a gate is named with -g: {}", line.trim_end()));
    }
    match subcommand {
        "setup" => {
            return Some("one server at a time, or `--all` of those that are installed".into());
        }
        "thaw" => return Some("TOKEN is one word, as `writegate freeze` printed it".into()),
        _ if !WITH_COMMAND.contains(&subcommand) => return None,
        _ => {}
    }
    let command: Vec<_> = arguments[at..].iter().filter(|word| *word != "--").cloned().collect();
    Some(format!("the program to run stands behind `--`: writegate {head} -- {}", words(&command)))
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

fn words(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
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

    #[test]
    fn a_unit_that_stands_alone_is_no_program() {
        let tip = unknown("freeze", "s", &given("freeze -t 5 s -- true")).unwrap();
        assert_eq!(tip, "a number and its unit are one word: 5s");
        let tip = unknown("freeze", "s", &given("freeze -g mail s")).unwrap();
        assert!(tip.ends_with("writegate freeze -g mail -- s"), "a program called s");
    }

    #[test]
    fn options_before_the_subcommand_are_moved_behind_it() {
        let all = given("freeze status");
        let tip = misplaced(&given("-g mail freeze -- true"), &all).unwrap();
        assert!(tip.ends_with("writegate freeze -g mail -- true"), "{tip}");
        assert!(misplaced(&given("freeze --nosuch status"), &all).is_none());
        assert!(misplaced(&given("--nosuch"), &all).is_none());
    }
}
