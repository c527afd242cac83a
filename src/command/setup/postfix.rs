//! Postfix: `import_environment` in main.cf. The unit's environment reaches nothing.

use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use super::{block, gate_files, server_tool};
use crate::command::{library, unit_files};
use crate::outcome::fault::{CONFIG, Fault, Result};

/// Where the default instance has its configuration.
const DIRECTORY: &str = "/etc/postfix";
/// `postconf -d import_environment` of 3.7, where it cannot be asked.
const DEFAULT: &str = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C \
                       POSTLOG_SERVICE POSTLOG_HOSTNAME";
/// The unit of a further instance.
const TEMPLATE: &str = "postfix@.service";

/// Adds a block to the main.cf of every instance, and what their units need.
pub fn add(site: &Site, plan: &mut Plan, unit: &str, inputs: &Inputs) -> Result<()> {
    let instances = instances(site)?;
    for directory in &instances {
        add_main(site, plan, &format!("{directory}/main.cf"), inputs)?;
    }
    // The page is made on the host, before whichever instance starts first.
    let own = unit_files::template(unit).unwrap_or_else(|| unit.into());
    let mut units = vec![own.as_str()];
    if instances.len() > 1 && own != TEMPLATE {
        units.push(TEMPLATE);
    }
    for unit in units {
        if !unit_files::files(site.root(), unit).is_empty() {
            gate_files::add_dropin(site, plan, unit, "postfix", inputs, false)?;
        }
    }
    plan.notes.push(
        "postdrop (mail submitted on this host by sendmail) is set-group-ID: it stays outside the \
         gate unless the library stands in /etc/ld.so.preload"
            .into(),
    );
    Ok(())
}

/// The configuration directory of every instance, the default one first.
pub fn instances(site: &Site) -> Result<Vec<String>> {
    let mut found = vec![DIRECTORY.to_owned()];
    let main = site.read(&format!("{DIRECTORY}/main.cf"))?.unwrap_or_default();
    if let Some((_, value)) = setting(&main, "multi_instance_directories") {
        let named = value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        found.extend(named.map(str::to_owned));
    }
    Ok(found)
}

fn add_main(site: &Site, plan: &mut Plan, path: &str, inputs: &Inputs) -> Result<()> {
    let Some(main) = site.read(path)? else {
        return Err(Fault::new(
            CONFIG,
            format!(
                "{} is not there, and multi_instance_directories in {DIRECTORY}/main.cf names its \
                 directory",
                site.at(path).display()
            ),
        ));
    };
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

/// The line and value of a parameter; lines that begin with a blank continue it.
pub fn setting(text: &str, name: &str) -> Option<(usize, String)> {
    let mut found: Option<(usize, String)> = None;
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = found.as_mut().filter(|_| continues) {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        continues = line.split_once('=').is_some_and(|(key, _)| key.trim() == name);
        if let Some((_, value)) = line.split_once('=').filter(|_| continues) {
            found = Some((number + 1, value.trim().into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn a_parameter_goes_on_over_lines_and_comments() {
        let text = "a = 1\nimport_environment = TZ\n# why\n    LANG=C\nb = 2\n   more\n";
        assert_eq!(setting(text, "import_environment"), Some((2, "TZ LANG=C".into())));
        assert_eq!(setting("#import_environment = x\n", "import_environment"), None);
    }
}
