//! Composes the plan for a server, or for a unit of which nothing is known.

use super::directories;
use super::directories::found::Directories;
use super::plan::{Inputs, Plan};
use super::site::Site;
use super::{dovecot, exim, gate_files, hook_conf, init_script, postfix};
use crate::command::servers::{self, Loading, SERVERS, Server};
use crate::command::unit_files;
use crate::outcome::fault::{CONFIG, Fault, Result};

/// The profile of a service of which nothing is known.
const EMPTY_PROFILE: &str = "\
# writegate profile. Nothing is known about this service. The keys, one value a line: `writegate man writegate.conf`.
# Protected directories. Without one all storage is held, and nobody else who writes is found out:
# path = /srv/data
";

/// Whether there is such a server or unit here, and one that can be set up.
pub fn check_exists(site: &Site, server: Option<&Server>, unit: &str) -> Result<()> {
    let refused = |what: String| Err(Fault::new(CONFIG, what));
    if let Some(server) = server {
        if site.has_any(server.signs) {
            return Ok(());
        }
        let signs = server.signs.join(", ");
        return refused(format!("no {} here: none of {signs} exists", server.name));
    }
    let name = unit.trim_end_matches(".service");
    if let Some(server) = SERVERS.iter().find(|server| server.name == name) {
        return refused(format!(
            "{} is set up by hand, by /etc/ld.so.preload: docs/admin/servers/{name}.md has the steps \
             (installed below /usr/share/doc/writegate)",
            server.title
        ));
    }
    if unit_files::files(site.root(), unit).is_empty() {
        let known = servers::names(servers::with_setup());
        return refused(format!("there is no unit {unit}, and it is none of {known}"));
    }
    Ok(())
}

/// The plan for a server that is there.
pub fn server(site: &Site, server: &Server, inputs: &Inputs) -> Result<Plan> {
    let mut plan = Plan::default();
    let directories = directories::find(site, server, server.profile);
    gate_files::add(site, &mut plan, server.name, (server.profile, &directories), inputs)?;
    hook_conf::add(site, &mut plan, server.name, inputs)?;
    let unit = server.unit(site.root());
    let start = |plan: &mut Plan| match init_script::of_unit(site, unit) {
        Some(script) => init_script::add(site, plan, &script, server.name, inputs),
        None => gate_files::add_dropin(site, plan, unit, server.name, inputs, true),
    };
    match server.loading {
        Loading::Unit => start(&mut plan)?,
        Loading::Dovecot => {
            start(&mut plan)?;
            dovecot::add(site, &mut plan, inputs)?;
        }
        Loading::Exim => {
            start(&mut plan)?;
            exim::add(site, &mut plan, inputs)?;
        }
        Loading::Postfix => postfix::add(site, &mut plan, unit, inputs)?,
        Loading::SystemWide => {
            return Err(Fault::new(CONFIG, format!("{} is set up by hand", server.name)));
        }
    }
    let said = |paths: &[&str]| paths.is_empty() || site.has_any(paths);
    let notes = server.notes.iter().filter(|note| said(note.if_there));
    plan.notes.extend(notes.map(|note| note.text.replace("GATE", &inputs.gate)));
    // Instances are restarted with the unit that holds them together.
    let whole = if server.loading == Loading::Postfix { "postfix.service" } else { unit };
    let asked = if server.loading == Loading::Postfix { server.name } else { unit };
    restart_and_check(site, &mut plan, whole, asked, inputs);
    Ok(plan)
}

/// The plan for a unit that is there and is no known server's.
pub fn unit(site: &Site, unit: &str, inputs: &Inputs) -> Result<Plan> {
    let name = unit.trim_end_matches(".service");
    let mut plan = Plan::default();
    let directories = Directories::default();
    gate_files::add(site, &mut plan, name, (EMPTY_PROFILE, &directories), inputs)?;
    hook_conf::add(site, &mut plan, name, inputs)?;
    gate_files::add_dropin(site, &mut plan, unit, name, inputs, true)?;
    plan.notes.push(
        "nothing is known about this service: `writegate rehearse` shows whether it drains, \
         `writegate doctor` whether all its processes are gated"
            .into(),
    );
    restart_and_check(site, &mut plan, unit, unit, inputs);
    Ok(plan)
}

fn restart_and_check(site: &Site, plan: &mut Plan, unit: &str, asked: &str, inputs: &Inputs) {
    let restart = if site.has_systemd() {
        plan.service = Some(unit.to_owned());
        // It does nothing to a unit that somebody has stopped.
        format!("systemctl try-restart {unit}")
    } else {
        let script = init_script::of_unit(site, unit);
        format!("/etc/init.d/{} restart", script.as_deref().unwrap_or(asked))
    };
    plan.then_undo.push(restart.clone());
    plan.then.push(restart);
    plan.check = ["doctor", asked, "-g", &inputs.gate].map(str::to_owned).to_vec();
}
