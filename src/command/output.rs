//! What the command writes: lines of the result on stdout, remarks on stderr. A freeze's stdout is
//! the snapshot command's and the token's: its verdict line goes to stderr.

use crate::foreign_text::{escape, json};
use crate::linux::standard_streams;
use crate::outcome::cause::Cause;
use crate::outcome::cause::meaning::FindingKind;
use crate::outcome::finding::Finding;
use crate::outcome::record::{CommandRecord, GateRecord, Record, VerdictLine};
use crate::outcome::verdict::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Something that was to be written is lost: full, closed, or its reader is gone.
static LOST: AtomicBool = AtomicBool::new(false);

/// So many findings of one cause are told one by one; a report has all.
const TOLD_OF_A_CAUSE: usize = 10;

/// A remark on stderr, one line. What others chose in it acts on nothing, whichever way it came
/// there.
pub fn say(message: &str) {
    if writeln!(std::io::stderr(), "writegate: {}", escape(message)).is_err() {
        LOST.store(true, Relaxed);
    }
}

/// A line of the result, on stdout. The same holds, but for colours.
pub fn print(line: &str) {
    write_out(&escape_but_colours(line));
}

/// Several lines of it: a manual page, a file. Tabs stay: a file is to be used as it is printed.
pub fn print_lines(text: &str) {
    let line = |line: &str| line.split('\t').map(escape_but_colours).collect::<Vec<_>>().join("\t");
    write_out(&text.split('\n').map(line).collect::<Vec<_>>().join("\n"));
}

/// A value as JSON.
pub fn print_json(value: &impl Serialize) {
    write_out(&json(serde_json::to_string_pretty(value).unwrap_or_default()));
}

fn write_out(text: &str) {
    let mut out = std::io::stdout();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        LOST.store(true, Relaxed);
    }
}

/// Is something lost that was to be written? Then nothing may end well.
pub fn is_lost() -> bool {
    LOST.load(Relaxed) || standard_streams::were_closed()
}

/// Our own colours stay, where there are any.
fn escape_but_colours(line: &str) -> String {
    if !Paint::for_stdout().0 {
        return escape(line);
    }
    let mut shown = String::new();
    let mut left = line;
    while let Some(at) = left.find('\x1b') {
        shown += &escape(&left[..at]);
        let colour = COLOURS.iter().find(|colour| left[at..].starts_with(**colour));
        let len = colour.map_or(1, |colour| colour.len());
        shown += colour.map_or("\\x1b", |colour| colour);
        left = &left[at + len..];
    }
    shown + &escape(left)
}

/// All that [`Paint`] writes.
const COLOURS: [&str; 4] = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"];

/// How a freeze's record is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Telling {
    /// Write the full record (JSON) here, after the thaw (-: on stdout, as --json)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print the full record (JSON) on stdout, after the thaw
    #[arg(long)]
    pub json: bool,
    /// Say nothing where the exit code is 0
    #[arg(short, long)]
    pub quiet: bool,
}

impl Telling {
    /// Where the record is written, if that is a file.
    fn file(&self) -> Option<&Path> {
        self.report.as_deref().filter(|path| *path != Path::new("-"))
    }

    /// Is the record wanted on stdout?
    pub fn is_on_stdout(&self) -> bool {
        self.json || self.report.is_some() && self.file().is_none()
    }
}

/// Tells a record: what was noted and found, then one line a gate, on stderr; the whole of it where
/// that was asked for.
pub fn show(record: &Record, telling: &Telling) {
    let quiet = telling.quiet && record.exit == 0;
    if !quiet {
        record.notes.iter().for_each(|note| say(note));
        record.gates.iter().for_each(|gate| remarks(record, gate));
        say_of_command(record);
    }
    if let Some(path) = telling.file()
        && let Err(fault) = record.write(path)
    {
        say(&fault.message);
    }
    if telling.is_on_stdout() {
        print_json(record);
    }
    if !quiet {
        record.gates.iter().for_each(|gate| say_verdict(&gate.line));
    }
}

/// A verdict says nothing of what a command has made that failed.
fn say_of_command(record: &Record) {
    let failed = |command: &&CommandRecord| command.exit.is_some_and(|exit| exit != 0);
    let Some(command) = record.command.as_ref().filter(failed) else { return };
    say(&format!(
        "the command `{}` ended with {}: do not trust what it made, whatever the verdict says of that \
         moment. The server was let go as usual; the command's own words say why",
        command.argv.join(" "),
        command.exit.unwrap_or_default()
    ));
}

/// A gate's verdict line, on stderr.
pub fn say_verdict(line: &VerdictLine) {
    if writeln!(std::io::stderr(), "{}", escape(&line.to_string())).is_err() {
        LOST.store(true, Relaxed);
    }
}

/// What stood in a gate's way, and what was found there.
fn remarks(record: &Record, gate: &GateRecord) {
    let name = &gate.line.gate;
    if record.verdict == Verdict::NotDrained {
        say(&format!("gate {name}: not drained; nothing is held any longer. In flight:"));
        if gate.blockers.is_empty() {
            say("  nothing (it was a matter of moments: a longer --drain may do)");
        }
    }
    for blocker in gate.blockers.iter().take(20) {
        say(&format!("  {blocker}"));
    }
    if gate.line.verdict == Verdict::Expired {
        say(&format!(
            "gate {name}: the limit of {:.0} ms passed before the thaw: writers went on, do not \
             trust the snapshot. Take less time, or a longer -t",
            record.limit_ms
        ));
    }
    findings(name, &gate.findings);
    let could_be_held = |finding: &&Finding| {
        finding.kind.is_against() && finding.known().is_some_and(Cause::can_be_held)
    };
    let held = gate.findings.iter().filter(could_be_held).count();
    if held > 0 && gate.line.at_rest.is_none() {
        say(&format!(
            "gate {name}: {held} of these would be answered by --hold-ungated, which stops such \
             processes at rest for the snapshot (docs/admin/hold.md)"
        ));
    }
    if gate.findings.iter().any(|finding| finding.known() == Some(&Cause::Changed)) {
        say(&format!(
            "gate {name}: if it was a gated process that made such a change, it writes past libc: \
             --hold-program PATH stops that program at rest for the snapshot (docs/admin/hold.md)"
        ));
    }
}

/// Of each cause some, and how many more there are: the line that says what to do must not scroll away.
fn findings(gate: &str, findings: &[Finding]) {
    let trusted = |finding: &&Finding| {
        let kinds = [FindingKind::Outsider, FindingKind::HeldWithLock, FindingKind::Dotlock];
        kinds.contains(&finding.kind)
    };
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| !trusted(finding)) {
        let of_this_cause = told.entry(&finding.cause).or_default();
        *of_this_cause += 1;
        if *of_this_cause <= TOLD_OF_A_CAUSE {
            say(&format!("gate {gate}: {finding}"));
        }
    }
    let more = told.iter().filter(|(_, count)| **count > TOLD_OF_A_CAUSE);
    for (cause, count) in more {
        let more = count - TOLD_OF_A_CAUSE;
        say(&format!(
            "gate {gate}: and {more} more of this kind ({cause}); --report FILE names all"
        ));
    }
    if told.get(Cause::OpenForWriting.id()).is_some_and(|count| *count > TOLD_OF_A_CAUSE) {
        say(&format!(
            "gate {gate}: so many programs outside of the service write there: are the protected \
             directories too wide (/, /var, /home)? Name those of the mail alone: --paths, `path` \
             lines of the profile, WRITEGATE_PATHS"
        ));
    }
}

/// Colours on stdout, or none.
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// On a terminal, unless NO_COLOR says otherwise.
    pub fn for_stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Paint(wanted && std::io::stdout().is_terminal())
    }

    /// Wrong, or standing still.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// As it should be.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// To be looked at.
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}
