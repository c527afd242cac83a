//! The whole look: which processes, what was seen of each, its diagnosis, and what
//! surrounds them: units, own rights, system calls past libc.

use super::diagnose::diagnose;
use super::diagnosis::{Cause, Context, Diagnosis, Membership};
use super::gate_survey::GateSurvey;
use super::lasting_locks::LastingLock;
use super::observation::Observation;
use super::own_rights::{self, MissingRight};
use super::selection::{self, Selection};
use super::unit_settings::{self, SettingEffect};
use super::{inline_calls, observe};
use crate::command::servers::{Loading, Server};
use crate::command::setup::instances;
use crate::command::{arguments, unit_files};
use crate::gatedir;
use crate::linux::bounded_child;
use crate::outcome::cause::Cause as FindingCause;
use crate::outcome::cause::meaning::FindingKind;
use crate::outcome::fault::{self, Fault, Result};
use crate::outcome::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything that was found.
pub struct Survey {
    /// The gate's name.
    pub gate: String,
    /// Its directory.
    pub directory: String,
    /// Why the gate cannot be frozen: its page cannot be used, a protected directory is not there.
    pub page_fault: Option<Fault>,
    /// No protected directory is named.
    pub names_no_directory: bool,
    /// Each process with its diagnosis.
    pub processes: Vec<(Observation, Diagnosis)>,
    /// Units of the processes, and what their settings mean.
    pub units: BTreeMap<String, Vec<SettingEffect>>,
    /// What the doctor itself may not do.
    pub missing_rights: Vec<MissingRight>,
    /// Files whose own text changes files past libc: the calls.
    pub inline_calls: BTreeMap<String, Vec<String>>,
    /// The profile in force.
    pub profile: String,
    /// What a freeze would hold against its snapshot, as these processes stand.
    pub against: Vec<Finding>,
    /// Locks that would keep a freeze from draining.
    pub lasting_locks: Vec<LastingLock>,
    /// Configuration directories of Postfix's instances that do not hand the library on, beside others
    /// that do.
    pub instances_left_out: Vec<String>,
}

impl Survey {
    /// Looks at the selected processes, or at all that have to do with the gate. Without
    /// a gate's name it is the one that their environment names. Unit files lie below
    /// `root`.
    pub fn of(selection: &Selection, gate: Option<&str>, root: &Path) -> Result<Survey> {
        let mut pids = selection::pids(selection, root)?;
        let gate = match gate {
            Some(gate) => gate.to_owned(),
            None => selection::gate_of(&pids).unwrap_or_else(arguments::default_gate),
        };
        gatedir::check_name(&gate)?;
        let dir = gatedir::root().join(&gate);
        let survey = GateSurvey::of(&gate);
        match selection.server() {
            _ if *selection == Selection::Gate => pids = selection::around(survey.pids()),
            // Another instance has a unit of its own; a freeze holds it against its snapshot.
            Some(server) => {
                let accused = survey.against.iter().filter_map(|finding| finding.pid);
                pids.extend(accused.filter(|pid| selection::runs(*pid, server)));
            }
            None => {}
        }
        let observed = observe_all(&pids, &dir.join("control"));
        let directory = dir.to_string_lossy().into_owned();
        let of_pids = observed.values().filter(|process| pids.contains(&process.pid));
        let names: BTreeSet<&str> = of_pids.filter_map(Observation::unit).collect();
        let (units, dropins) = look_at_units(&names, root, &directory);
        let context = Context {
            gate: &gate,
            dir: &directory,
            page_fault: survey.fault.as_ref().map(|fault| fault.message.as_str()),
            page_layout: survey.page_layout,
            page_ino: survey.page_ino,
            page_made_ns: survey.page_made_ns,
            profile: &survey.profile,
            observed: &observed,
            dropins: &dropins,
            regions: &survey.regions,
        };
        let processes: Vec<_> = pids
            .iter()
            .filter_map(|pid| observed.get(pid))
            .filter(|process| !process.program.is_empty())
            .map(|process| (process.clone(), diagnose_standing(process, &context, &survey.against)))
            // Gates of this name in other directories are none of this one's business.
            .filter(|(process, diagnosis)| {
                let counts = |finding: &Finding| finding.pid == Some(process.pid);
                *selection != Selection::Gate
                    || diagnosis.cause != Cause::OtherGate
                    || survey.against.iter().any(counts)
            })
            .collect();
        // Of a unit, only what is about it.
        let shown = |finding: &Finding| {
            *selection == Selection::Gate || finding.pid.is_none_or(|pid| pids.contains(&pid))
        };
        let against = survey.against.iter().filter(|finding| shown(finding)).cloned().collect();
        let is_postfix = |server: &Server| server.loading == Loading::Postfix;
        let has_instances = selection.server().is_some_and(is_postfix)
            || processes.iter().any(|(process, _)| process.server().is_some_and(is_postfix));
        let instances_left_out = if has_instances { instances::left_out(root) } else { Vec::new() };
        Ok(Survey {
            against,
            instances_left_out,
            inline_calls: past_libc(&processes),
            processes,
            units,
            missing_rights: own_rights::missing(),
            page_fault: survey.fault.or(survey.refusal),
            names_no_directory: survey.names_no_directory,
            lasting_locks: survey.lasting_locks,
            profile: survey.profile,
            gate,
            directory,
        })
    }

    /// How many are in this state.
    pub fn count(&self, membership: Membership) -> usize {
        self.processes.iter().filter(|(_, diagnosis)| diagnosis.membership == membership).count()
    }

    /// The exit code: could a freeze be trusted?
    pub fn code(&self) -> u8 {
        if self.processes.is_empty() {
            return self.page_fault.as_ref().map_or(fault::NO_PROCESS, |fault| fault.code);
        }
        let unseen = |finding: &Finding| finding.kind == FindingKind::NotSeen;
        if self.count(Membership::NotGated) > 0 || !self.against.iter().all(unseen) {
            return fault::ESCAPE;
        }
        match &self.page_fault {
            Some(fault) => fault.code,
            None if self.count(Membership::Unknown) > 0 => fault::PERMISSION,
            None if self.count(Membership::Gated) == 0 => fault::NO_PROCESS,
            None if !self.against.is_empty() => fault::ESCAPE,
            None => 0,
        }
    }
}

/// These and their parents: a parent outside the set may explain its child.
fn observe_all(pids: &BTreeSet<i32>, control: &Path) -> BTreeMap<i32, Observation> {
    let mut observed: BTreeMap<i32, Observation> =
        pids.iter().map(|pid| (*pid, observe::process(*pid, control))).collect();
    let parents: BTreeSet<i32> = observed.values().map(|process| process.parent).collect();
    for parent in parents.into_iter().filter(|parent| *parent > 1) {
        observed.entry(parent).or_insert_with(|| observe::process(parent, control));
    }
    observed
}

type Units = (BTreeMap<String, Vec<SettingEffect>>, BTreeMap<String, u64>);

/// What the units' settings mean, and when the drop-in that loads the library was
/// written.
fn look_at_units(names: &BTreeSet<&str>, root: &Path, dir: &str) -> Units {
    let (mut units, mut dropins) = Units::default();
    for name in names {
        let files = unit_files::files(root, name);
        let dropin = files
            .iter()
            .filter(|file| file.file_name().is_some_and(|name| name == "writegate.conf"))
            .find_map(|file| std::fs::metadata(file).ok());
        if let Some(meta) = dropin {
            let written =
                meta.mtime().max(0) as u64 * 1_000_000_000 + meta.mtime_nsec().max(0) as u64;
            dropins.insert((*name).to_owned(), written);
        }
        let settings = unit_files::settings(&files);
        units.insert((*name).to_owned(), unit_settings::effects(&settings, dir));
    }
    (units, dropins)
}

/// Diagnoses a process; with what a freeze would hold against its snapshot, where that says more.
fn diagnose_standing(
    process: &Observation,
    context: &Context<'_>,
    against: &[Finding],
) -> Diagnosis {
    let mut diagnosis = diagnose(process, context);
    for finding in against.iter().filter(|finding| finding.pid == Some(process.pid)) {
        match (finding.known(), &finding.path) {
            (Some(FindingCause::OpenForWriting), Some(path)) => {
                diagnosis.gaps.push(format!("has a protected file open for writing: {path}"));
            }
            // Its region knows devices; this is what was found there.
            (Some(FindingCause::MapsShared), path) if diagnosis.membership == Membership::Gated => {
                let path = path.as_ref().map(|path| format!(": {path}")).unwrap_or_default();
                diagnosis.gaps.push(format!("{}{path}", finding.what));
            }
            // Its region says so, and the diagnosis with it.
            (Some(cause), _) if cause.is_of_a_member() => {}
            _ if diagnosis.membership == Membership::Gated => {
                diagnosis.gaps.push(finding.what.clone());
            }
            _ => {}
        }
    }
    diagnosis
}

/// System calls in the programs' own texts, and in their libraries'.
fn past_libc(processes: &[(Observation, Diagnosis)]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut scanned = BTreeSet::new();
    for (process, _) in processes {
        for file in process.executable_files.iter().filter(|file| !is_libc(file)) {
            if !scanned.insert(file.clone()) {
                continue;
            }
            let inside = PathBuf::from(format!("/proc/{}/root{file}", process.pid));
            let calls = bounded_child::run(observe::PATIENCE, || inline_calls::of_file(&inside))
                .unwrap_or_default();
            if !calls.is_empty() {
                found.insert(file.clone(), calls);
            }
        }
    }
    found
}

/// libc's own text is what the hooks stand in front of.
fn is_libc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["libc.so", "libc-2", "ld-", "ld.so", "libpthread", "librt", "libc.musl"]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}
