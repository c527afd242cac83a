//! The doctor's findings: a table for persons, JSON for machines.

use super::at_rest::AtRest;
use super::diagnosis::{Diagnosis, Membership};
use super::lasting_locks::LastingLock;
use super::own_rights::MissingRight;
use super::survey::Survey;
use super::unit_settings::SettingEffect;
use crate::command::output::{Paint, print, print_json};
use crate::command::{library, users};
use crate::foreign_text::ForeignText;
use crate::outcome::finding::Finding;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Serialize)]
struct ProcessJson<'a> {
    pid: i32,
    program: &'a ForeignText,
    exe: Option<String>,
    uid: Option<u32>,
    unit: Option<&'a str>,
    library: Option<&'a str>,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

#[derive(Serialize)]
struct SurveyJson<'a> {
    schema: u32,
    gate: &'a str,
    directory: &'a str,
    /// Of this machine, for `exec` and `setup`; none: `library_fault` says why.
    library: Option<String>,
    library_fault: Option<String>,
    gate_fault: Option<&'a str>,
    trusted: bool,
    exit: u8,
    processes: Vec<ProcessJson<'a>>,
    units: &'a BTreeMap<String, Vec<SettingEffect>>,
    own_rights: &'a [MissingRight],
    inline_system_calls: &'a BTreeMap<String, Vec<String>>,
    profile: &'a str,
    against: &'a [Finding],
    lasting_locks: &'a [LastingLock],
    /// Postfix's configuration directories that do not hand the library on, beside others that do.
    instances_left_out: &'a [String],
    /// How it can be frozen as things stand: with these processes stopped at rest.
    at_rest: Option<&'a AtRest>,
}

/// For machines.
pub fn json(survey: &Survey, at_rest: Option<&AtRest>) {
    let processes = survey.processes.iter().map(|(process, diagnosis)| ProcessJson {
        pid: process.pid,
        program: &process.program,
        exe: process.exe.as_ref().map(|exe| exe.display().to_string()),
        uid: process.uid,
        unit: process.unit(),
        library: process.library.as_deref(),
        diagnosis,
    });
    let library = library::find(None);
    let all = SurveyJson {
        schema: 1,
        gate: &survey.gate,
        directory: &survey.directory,
        library: library.as_ref().ok().map(|path| path.display().to_string()),
        library_fault: library.as_ref().err().map(|fault| fault.message.clone()),
        gate_fault: survey.page_fault.as_ref().map(|fault| fault.message.as_str()),
        trusted: survey.code() == 0,
        exit: survey.code(),
        processes: processes.collect(),
        units: &survey.units,
        own_rights: &survey.missing_rights,
        inline_system_calls: &survey.inline_calls,
        profile: &survey.profile,
        against: &survey.against,
        lasting_locks: &survey.lasting_locks,
        instances_left_out: &survey.instances_left_out,
        at_rest,
    };
    print_json(&all);
}

/// Said where everything is held and nobody can be accused.
const NO_DIRECTORY: &str = "  no protected directory is named: what others change while the gate is \
closed is not seen. Name them: `path = DIR` lines in /etc/writegate/GATE.conf (`writegate setup` asks \
the server), WRITEGATE_PATHS, or --paths";

/// For persons.
pub fn table(survey: &Survey, at_rest: Option<&AtRest>, verbose: bool) {
    let paint = Paint::for_stdout();
    print(&format!(
        "gate {} ({}): {} processes, {} gated, {} not, {} left out, {} not to be seen",
        survey.gate,
        survey.directory,
        survey.processes.len(),
        survey.count(Membership::Gated),
        survey.count(Membership::NotGated),
        survey.count(Membership::LeftOut),
        survey.count(Membership::Unknown),
    ));
    if let Some(fault) = &survey.page_fault {
        print(&format!("  {}", paint.red(&fault.message)));
    }
    if survey.names_no_directory && survey.page_fault.is_none() {
        print(NO_DIRECTORY);
    }
    for finding in survey.against.iter().filter(|finding| finding.pid.is_none()) {
        print(&format!("  {}", paint.red(&finding.to_string())));
    }
    match library::find(None) {
        Ok(path) => print(&format!("library {}", path.display())),
        Err(fault) => print(&format!("library: {}", paint.yellow(&fault.message))),
    }
    processes(survey, paint);
    // Who may not look sees nobody, and knows nothing.
    let may_look = survey.missing_rights.is_empty();
    if survey.processes.is_empty() && survey.page_fault.is_none() && may_look {
        print(&format!(
            "  nothing is gated by it: is the server running, and was it started again since it was set \
             up? `writegate doctor SERVER -g {}` says of each of its processes why",
            survey.gate
        ));
    }
    cures(survey);
    gaps(survey);
    lasting_locks(survey);
    for directory in &survey.instances_left_out {
        print(&format!(
            "not set up: the Postfix of {directory}: its main.cf does not hand the library on. If it \
             runs, or will: `writegate setup postfix --install` says what is missing"
        ));
    }
    notes(survey, verbose);
    let line = match survey.code() {
        0 if !survey.lasting_locks.is_empty() => paint.yellow(
            "a freeze of this gate could be trusted, but as long as that lock is held it ends with \
             NOT_DRAINED (75) and takes no snapshot",
        ),
        0 => paint.green("a freeze of this gate could be trusted"),
        code => {
            paint.red(&format!("a freeze of this gate could NOT be trusted (exit code {code})"))
        }
    };
    print(&line);
    if let Some(at_rest) = at_rest {
        let rest = if at_rest.suffices { "" } else { "; the rest must be mended first" };
        print(&format!(
            "as things stand, this stops {} of these at rest for the snapshot \
             (docs/admin/hold.md){rest}:",
            at_rest.pids.len()
        ));
        print(&format!("  {}", at_rest.command));
    }
}

fn processes(survey: &Survey, paint: Paint) {
    if !survey.processes.is_empty() {
        print(&format!("  {:>8} {:<16} {:<10} {:<9} REASON", "PID", "PROGRAM", "USER", "GATED"));
    }
    let users = users::names();
    for (process, diagnosis) in &survey.processes {
        let gated = match diagnosis.membership {
            Membership::Gated => paint.green("yes      "),
            Membership::NotGated => paint.red("NO       "),
            Membership::LeftOut => paint.yellow("left out "),
            Membership::Unknown => paint.yellow("unknown  "),
        };
        let user = process
            .uid
            .map_or("?".into(), |uid| users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()));
        let line = format!(
            "  {:>8} {:<16} {user:<10} {gated} {}",
            process.pid, process.program, diagnosis.reason
        );
        print(line.trim_end());
    }
}

/// Each cure once, with the processes that it is for.
fn cures(survey: &Survey) {
    let mut cures: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (process, diagnosis) in survey.processes.iter().filter(|(_, d)| !d.cure.is_empty()) {
        cures.entry(&diagnosis.cure).or_default().push(process.pid.to_string());
    }
    for (cure, pids) in cures {
        print(&format!("cure for {}: {cure}", pids.join(", ")));
    }
}

/// Each gap once, with the processes that have it.
fn gaps(survey: &Survey) {
    let mut gaps: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (process, diagnosis) in &survey.processes {
        for gap in &diagnosis.gaps {
            gaps.entry(gap).or_default().push(format!("{} ({})", process.pid, process.program));
        }
    }
    for (gap, processes) in gaps {
        print(&format!("gap: {}: {gap}", processes.join(", ")));
    }
}

/// What the profile lacks, if they are held for life.
fn lasting_locks(survey: &Survey) {
    for lock in &survey.lasting_locks {
        let LastingLock { pid, program, path, .. } = lock;
        print(&format!(
            "a freeze would wait for pid {pid} ({program}): it has held the lock on {path} for more \
             than a second, with something changed under it. If it holds it as long as it runs, say \
             so in the gate's profile:"
        ));
        print(&format!("  lifetime-lock = {path}"));
    }
}

/// What is not one process's: calls that are absent or past libc, units, own rights.
fn notes(survey: &Survey, verbose: bool) {
    let mut harmless = Vec::new();
    let absent = survey.processes.iter().flat_map(|(_, diagnosis)| &diagnosis.absent_calls);
    let absent: BTreeSet<&str> = absent.copied().collect();
    if !absent.is_empty() {
        let absent: Vec<_> = absent.into_iter().collect();
        harmless
            .push(format!("note: their libc has no {}: nothing there to hook", absent.join(", ")));
    }
    for (file, calls) in &survey.inline_calls {
        print(&format!(
            "note: {file} makes system calls of its own past libc ({}): the gate does not see them",
            calls.join(", ")
        ));
    }
    for (unit, effects) in &survey.units {
        for effect in effects {
            let said = format!("{unit}: {}: {}", effect.setting, effect.what);
            if effect.harmful {
                print(&format!("IN THE WAY: {said}"));
            } else {
                harmless.push(format!("note: {said}"));
            }
        }
    }
    if verbose {
        harmless.iter().for_each(|note| print(note));
    } else if !harmless.is_empty() {
        print(&format!("{} notes on what is harmless here: -v shows them", harmless.len()));
    }
    for right in &survey.missing_rights {
        print(&format!("your rights: {}; {}", right.what, right.cure));
    }
}
