//! Systems without systemd: an init script reads `/etc/default/NAME`, and what is exported there
//! reaches the server.

use super::block;
use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use crate::outcome::fault::{CONFIG, Fault, Result};

/// The name of the init script that starts a unit's server, where there is no systemd.
pub fn of_unit(site: &Site, unit: &str) -> Option<String> {
    let name = unit.trim_end_matches(".service").split('@').next().unwrap_or(unit);
    let script = format!("/etc/init.d/{name}");
    (!site.has_systemd() && site.has_any(&[script.as_str()])).then(|| name.into())
}

/// Adds the library to what the script hands its server.
pub fn add(
    site: &Site,
    plan: &mut Plan,
    script: &str,
    server: &str,
    inputs: &Inputs,
) -> Result<()> {
    let path = format!("/etc/default/{script}");
    let reads = site.read(&format!("/etc/init.d/{script}"))?.unwrap_or_default();
    if !reads.contains("/etc/default/") {
        return Err(Fault::new(
            CONFIG,
            format!(
                "/etc/init.d/{script} does not read {path}, so nothing there would reach the server. \
                 Put `export LD_PRELOAD={} WRITEGATE_GATE={}` before its start there yourself",
                inputs.library, inputs.gate
            ),
        ));
    }
    let now = site.read(&path)?.unwrap_or_default();
    let theirs = block::cut(&now, server);
    if let Some(line) = theirs.lines().find(|line| line.contains("LD_PRELOAD=")) {
        return Err(Fault::new(
            CONFIG,
            format!("{path} sets LD_PRELOAD already ({}): not overwritten", line.trim()),
        ));
    }
    let Inputs { gate, library, command, .. } = inputs;
    let text = format!(
        "# Makes the gate's page; a failure stops nothing.\n\
         [ ! -x {command} ] || {command} exec -g {gate} -- /bin/true || :\n\
         export LD_PRELOAD={library} WRITEGATE_GATE={gate}"
    );
    let after = block::append(&now, server, &text);
    plan.changes.push(Change { path, after, whole: false });
    Ok(())
}
