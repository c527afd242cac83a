//! The doctor's findings: a table for persons, JSON for machines.

use super::Found;
use super::reason::{Judgement, State};
use super::rights::Lack;
use super::unit::Meaning;
use crate::command::print;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;

#[derive(Serialize)]
struct Row<'a> {
    pid: i32,
    program: &'a str,
    exe: Option<String>,
    uid: Option<u32>,
    unit: Option<&'a str>,
    library: Option<&'a str>,
    #[serde(flatten)]
    judgement: &'a Judgement,
}

#[derive(Serialize)]
struct All<'a> {
    schema: u32,
    gate: &'a str,
    directory: &'a str,
    gate_fault: Option<&'a str>,
    trusted: bool,
    exit: u8,
    processes: Vec<Row<'a>>,
    units: &'a BTreeMap<String, Vec<Meaning>>,
    own_rights: &'a [Lack],
    inline_system_calls: &'a BTreeMap<String, Vec<String>>,
    profile: &'a str,
}

/// For machines.
pub fn json(found: &Found) {
    let rows = found.processes.iter().map(|(facts, judgement)| Row {
        pid: facts.pid,
        program: &facts.program,
        exe: facts.exe.as_ref().map(|exe| exe.display().to_string()),
        uid: facts.uid,
        unit: super::reason::unit_of(&facts.cgroup),
        library: facts.library.as_deref(),
        judgement,
    });
    let all = All {
        schema: 1,
        gate: &found.gate,
        directory: &found.directory,
        gate_fault: found.page_fault.as_ref().map(|fault| fault.message.as_str()),
        trusted: found.code() == 0,
        exit: found.code(),
        processes: rows.collect(),
        units: &found.units,
        own_rights: &found.lacks,
        inline_system_calls: &found.inline,
        profile: &found.profile,
    };
    print(&serde_json::to_string_pretty(&all).unwrap_or_default());
}

/// Colours, where somebody looks and has not said no.
struct Paint(bool);

impl Paint {
    fn new() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Paint(wanted && std::io::stdout().is_terminal())
    }

    fn with(&self, colour: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.into() }
    }
}

/// For persons.
pub fn table(found: &Found) {
    let paint = Paint::new();
    print(&format!(
        "gate {} ({}): {} processes, {} gated, {} not, {} left out, {} not to be seen",
        found.gate,
        found.directory,
        found.processes.len(),
        found.count(State::Gated),
        found.count(State::NotGated),
        found.count(State::LeftOut),
        found.count(State::Unknown),
    ));
    if let Some(fault) = &found.page_fault {
        print(&format!("  {}", paint.with("31", &fault.message)));
    }
    if !found.processes.is_empty() {
        print(&format!("  {:>8} {:<16} {:<10} {:<9} REASON", "PID", "PROGRAM", "USER", "GATED"));
    }
    let users = users();
    for (facts, judgement) in &found.processes {
        let (word, colour) = match judgement.state {
            State::Gated => ("yes", "32"),
            State::NotGated => ("NO", "31"),
            State::LeftOut => ("left out", "33"),
            State::Unknown => ("unknown", "33"),
        };
        let user = facts
            .uid
            .map_or("?".into(), |uid| users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()));
        let line = format!(
            "  {:>8} {:<16} {:<10} {} {}",
            facts.pid,
            facts.program,
            user,
            paint.with(colour, &format!("{word:<9}")),
            judgement.reason
        );
        print(line.trim_end());
    }
    cures(found);
    gaps(found);
    let lacks = found.processes.iter().flat_map(|(_, judgement)| &judgement.lacks);
    let lacks: BTreeSet<&str> = lacks.copied().collect();
    if !lacks.is_empty() {
        let lacks: Vec<_> = lacks.into_iter().collect();
        print(&format!("note: their libc has no {}: nothing there to hook", lacks.join(", ")));
    }
    for (file, calls) in &found.inline {
        print(&format!(
            "note: {file} makes system calls of its own past libc ({}): the gate does not see them",
            calls.join(", ")
        ));
    }
    for (unit, meanings) in &found.units {
        for meaning in meanings {
            let mark = if meaning.harmful { "IN THE WAY" } else { "note" };
            print(&format!("{mark}: {unit}: {}: {}", meaning.setting, meaning.what));
        }
    }
    for lack in &found.lacks {
        print(&format!("your rights: {}; {}", lack.what, lack.cure));
    }
    let line = match found.code() {
        0 => paint.with("32", "a freeze of this gate could be trusted"),
        code => paint
            .with("31", &format!("a freeze of this gate could NOT be trusted (exit code {code})")),
    };
    print(&line);
}

/// Each cure once, with the processes that it is for.
fn cures(found: &Found) {
    let mut cures: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (facts, judgement) in found.processes.iter().filter(|(_, j)| !j.cure.is_empty()) {
        cures.entry(&judgement.cure).or_default().push(facts.pid.to_string());
    }
    for (cure, pids) in cures {
        print(&format!("cure for {}: {cure}", pids.join(", ")));
    }
}

fn gaps(found: &Found) {
    let mut gaps: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (facts, judgement) in &found.processes {
        for gap in &judgement.gaps {
            gaps.entry(gap).or_default().push(format!("{} ({})", facts.pid, facts.program));
        }
    }
    for (gap, who) in gaps {
        print(&format!("gap: {}: {gap}", who.join(", ")));
    }
}

/// Users by number, from the file alone: a directory service may be down.
fn users() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(user).collect()
}
