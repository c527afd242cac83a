//! The manual page of a command: clap's definition, and what all of them have in common.

use super::profile_page;
use super::roff::{escaped, section};
use crate::outcome::exit;
use crate::outcome::fault::{Fault, Result};
use clap::Command;
use clap_mangen::Man;
use std::io;

/// What each reads of its environment.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("WRITEGATE_GATE", "the gate, where -g names none (default: the only one there is)"),
    ("WRITEGATE_DIR", "the directory of the gates (default: /run/writegate)"),
    ("WRITEGATE_PATHS", "protected directories, separated by colons"),
];
const FILES: [(&str, &str); 5] = [
    ("/etc/writegate/GATE.conf", "the gate's profile: writegate.conf(5)"),
    ("/etc/writegate/hook.conf", "which gates the scripts for backup tools freeze"),
    ("/run/writegate/GATE", "the gate's page, lock and counters"),
    ("/var/lib/writegate/history/GATE", "what its freezes came to"),
    ("/var/lib/writegate/setup", "what `writegate setup` has changed, for --remove"),
];

/// The page of one of them, in roff. `names`: of all pages.
pub fn roff(command: &Command, names: &[String]) -> Result<String> {
    let mut bytes = Vec::new();
    from_definition(command, &mut bytes).map_err(|e| Fault::io("cannot make the page", &e))?;
    let mut page = String::from_utf8_lossy(&bytes).into_owned();
    if let Some(after) = command.get_after_help() {
        after_help(&mut page, &after.to_string());
    }
    section(&mut page, "EXIT STATUS", &escaped(&exit::help()));
    section(&mut page, "ENVIRONMENT", &list(&ENVIRONMENT));
    section(&mut page, "FILES", &list(&FILES));
    let others = names.iter().filter(|name| *name != command.get_name());
    let others: Vec<_> = others.map(|name| reference(name)).collect();
    section(&mut page, "SEE ALSO", &others.join(", "));
    section(&mut page, "VERSION", env!("CARGO_PKG_VERSION"));
    Ok(page)
}

fn from_definition(command: &Command, bytes: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone()).manual("writegate");
    man.render_title(bytes)?;
    man.render_name_section(bytes)?;
    man.render_synopsis_section(bytes)?;
    man.render_description_section(bytes)?;
    man.render_options_section(bytes)?;
    if command.has_subcommands() {
        man.render_subcommands_section(bytes)?;
    }
    Ok(())
}

/// What stands below `--help`: examples as they are to be typed, the rest as text.
fn after_help(page: &mut String, text: &str) {
    let (mut examples, mut notes) = (Vec::new(), Vec::new());
    for paragraph in text.split("\n\n") {
        let is_example = paragraph.lines().skip(1).any(|line| line.starts_with("  "));
        if is_example {
            examples.push(format!(".nf\n{}\n.fi", escaped(paragraph)));
        } else if paragraph != exit::help() {
            notes.push(escaped(paragraph));
        }
    }
    for (title, paragraphs) in [("EXAMPLES", examples), ("NOTES", notes)] {
        if !paragraphs.is_empty() {
            section(page, title, &paragraphs.join("\n.PP\n"));
        }
    }
}

fn list(rows: &[(&str, &str)]) -> String {
    let row =
        |(name, meaning): &(&str, &str)| format!(".TP\n.B {}\n{}", escaped(name), escaped(meaning));
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn reference(name: &str) -> String {
    let part = if name == profile_page::NAME { 5 } else { 1 };
    format!("\\fB{}\\fR({part})", escaped(name))
}
