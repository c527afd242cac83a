//! What the command writes: lines of the result on stdout, remarks on stderr, and a
//! freeze's record on both.

use crate::foreign_text::{escape, json};
use crate::linux::standard_streams;
use crate::outcome::finding::FindingKind;
use crate::outcome::record::{GateRecord, Record};
use crate::outcome::verdict::Verdict;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Something that was to be written is lost: full, closed, or its reader is gone.
static LOST: AtomicBool = AtomicBool::new(false);

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

/// Prints a record: what was noted and found on stderr, one line a gate on stdout,
/// and the whole of it to `report`.
pub fn show(record: &Record, report: Option<&Path>) {
    for note in &record.notes {
        say(note);
    }
    for gate in &record.gates {
        remarks(record, gate);
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
    for finding in &gate.findings {
        let trusted = matches!(
            finding.kind,
            FindingKind::Outsider | FindingKind::HeldWithLock | FindingKind::Dotlock
        );
        if !trusted {
            say(&format!("gate {name}: {finding}"));
        }
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
