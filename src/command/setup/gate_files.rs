//! Files that every set-up has: the gate's configuration, its directory, and the unit's
//! drop-in.

use super::block;
use super::directories::found::Directories;
use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use crate::command::unit_files;
use crate::outcome::fault::{CONFIG, Fault, Result};

/// Adds the gate's configuration and directory.
pub fn add(
    site: &Site,
    plan: &mut Plan,
    name: &str,
    (profile, directories): (&str, &Directories),
    inputs: &Inputs,
) -> Result<()> {
    let gate = &inputs.gate;
    let conf = format!("/etc/writegate/{gate}.conf");
    let now = site.read(&conf)?.unwrap_or_default();
    // A profile is there to be edited: one that stands is never written over.
    let after = match block::find(&now, name) {
        Some(_) => now,
        None => block::append(&now, name, &directories.written_into(profile)),
    };
    directories.say(site, plan, &conf, &after);
    plan.changes.push(Change { path: conf, after, whole: false });
    let path = format!("/etc/tmpfiles.d/writegate-{name}.conf");
    if site.has_systemd() {
        plan.then.push(format!("systemd-tmpfiles --create {path}"));
    }
    let after = format!(
        "# Made by `writegate setup {name}`; --remove takes it away.\n\
         d /run/writegate 0755 root root -\n\
         d /run/writegate/{gate} 0755 root root -\n"
    );
    plan.changes.push(Change { path, after, whole: true });
    Ok(())
}

/// Adds the unit's drop-in.
pub fn add_dropin(
    site: &Site,
    plan: &mut Plan,
    unit: &str,
    name: &str,
    inputs: &Inputs,
    carries: bool,
) -> Result<()> {
    let path = format!("/etc/systemd/system/{unit}.d/writegate.conf");
    if carries {
        refuse_preload(site, unit, &path, inputs)?;
    }
    let Inputs { gate, library, command, .. } = inputs;
    let mut after = format!(
        "# Made by `writegate setup {name}`; --remove takes it away.\n\
         [Service]\n"
    );
    if carries {
        after += &format!(
            "Environment=LD_PRELOAD={library}\n\
             Environment=WRITEGATE_GATE={gate}\n"
        );
    }
    if others(site, unit, &path).get("ProcSubset").is_some_and(|value| value.concat() == "pid") {
        after += "# Without /proc/sys no process knows which start of the machine a page is of.\n\
                  ProcSubset=all\n";
    }
    after += &format!(
        "# Makes the gate's page where the service itself may not; a failure stops nothing.\n\
         ExecStartPre=+-{command} exec -g {gate} -- /bin/true\n"
    );
    plan.changes.push(Change { path, after, whole: true });
    let reload = "systemctl daemon-reload".to_owned();
    if !plan.then.contains(&reload) {
        plan.then_undo.push(reload.clone());
        plan.then.push(reload);
    }
    Ok(())
}

/// What the unit's other files set.
fn others(site: &Site, unit: &str, ours: &str) -> unit_files::Settings {
    let files: Vec<_> = unit_files::files(site.root(), unit)
        .into_iter()
        .filter(|file| !file.ends_with(ours.trim_start_matches('/')))
        .collect();
    unit_files::settings(&files)
}

/// Does another of the unit's files set LD_PRELOAD?
fn refuse_preload(site: &Site, unit: &str, ours: &str, inputs: &Inputs) -> Result<()> {
    let settings = others(site, unit, ours);
    let mut environment = settings.get("Environment").into_iter().flatten();
    let Some(theirs) = environment.find(|value| value.contains("LD_PRELOAD=")) else {
        return Ok(());
    };
    let merged = format!("{}:{}", inputs.library, preload_of(theirs));
    Err(Fault::new(
        CONFIG,
        format!(
            "{unit} sets LD_PRELOAD already ({theirs}): not overwritten. Put the library in front \
             of it there, `LD_PRELOAD={merged}`, and add WRITEGATE_GATE={}",
            inputs.gate
        ),
    ))
}

fn preload_of(assignment: &str) -> &str {
    let value = assignment.split("LD_PRELOAD=").nth(1).unwrap_or("");
    value.split(['"', '\'', ' ']).next().unwrap_or("")
}
