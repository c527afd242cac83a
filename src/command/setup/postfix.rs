//! Postfix: `import_environment` in main.cf. The unit's environment reaches nothing.

use super::instances::{self, Instances};
use super::main_cf::setting;
use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use super::{block, gate_files, server_tool};
use crate::command::{library, unit_files};
use crate::outcome::fault::{CONFIG, Fault, Result};

/// `postconf -d import_environment` of 3.7, where it cannot be asked.
const DEFAULT: &str = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C \
                       POSTLOG_SERVICE POSTLOG_HOSTNAME";
/// The unit of a further instance.
const TEMPLATE: &str = "postfix@.service";

/// Adds a block to the main.cf of every instance, and what their units need.
pub fn add(site: &Site, plan: &mut Plan, unit: &str, inputs: &Inputs) -> Result<()> {
    let instances = instances::of(site)?;
    plan.to_mend.extend(instances.remarks());
    for directory in &instances.directories {
        add_main(site, plan, &format!("{directory}/main.cf"), inputs)?;
    }
    if site.has_systemd() {
        add_dropins(site, plan, unit, &instances, inputs)?;
    }
    plan.notes.push(
        "postdrop (mail submitted on this host by sendmail) is set-group-ID: it stays outside the \
         gate unless the library stands in /etc/ld.so.preload"
            .into(),
    );
    Ok(())
}

/// The page is made on the host, before whichever instance starts first. (An init script's Postfix is
/// started by a shell of root's that is gated, and makes it.)
fn add_dropins(
    site: &Site,
    plan: &mut Plan,
    unit: &str,
    instances: &Instances,
    inputs: &Inputs,
) -> Result<()> {
    let own = unit_files::template(unit).unwrap_or_else(|| unit.into());
    let mut units = vec![own.as_str()];
    if instances.directories.len() > 1 && own != TEMPLATE {
        units.push(TEMPLATE);
    }
    for unit in units {
        if !unit_files::files(site.root(), unit).is_empty() {
            gate_files::add_dropin(site, plan, unit, "postfix", inputs, false)?;
        }
    }
    Ok(())
}

fn add_main(site: &Site, plan: &mut Plan, path: &str, inputs: &Inputs) -> Result<()> {
    let main = site.read(path)?.unwrap_or_default();
    let theirs = block::cut(&main, "postfix");
    // Values are split at commas and blanks; neither may lie in ours.
    if [&inputs.library, &inputs.gate].iter().any(|v| v.contains([',', ' ', '\t'])) {
        return Err(Fault::new(
            CONFIG,
            "Postfix splits values at commas and blanks: use another path",
        ));
    }
    let ours = format!("LD_PRELOAD={}, WRITEGATE_GATE={}", inputs.library, inputs.gate);
    if let Some((line, value)) = setting(&theirs, "import_environment") {
        if value.contains(library::NAME) {
            plan.notes.push(format!("{path}:{line} has the library already; left as it is"));
            return Ok(());
        }
        return Err(Fault::new(
            CONFIG,
            format!(
                "{path}:{line} sets import_environment already: not overwritten. Add to it: {ours}"
            ),
        ));
    }
    let asked = server_tool::ask(site, &["postconf"], &["-dh", "import_environment"]);
    let default = asked.as_deref().map_or(DEFAULT, str::trim);
    let text = format!("import_environment = {default}\n    {ours}");
    let after = block::append(&main, "postfix", &text);
    plan.changes.push(Change { path: path.into(), after, whole: false });
    Ok(())
}
