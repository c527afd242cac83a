//! Postfix: `import_environment` in main.cf. The unit's environment reaches nothing.

use super::block;
use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use crate::outcome::fault::{CONFIG, Fault, Result};

const MAIN: &str = "/etc/postfix/main.cf";
/// `postconf -d import_environment` of 3.7, where it cannot be asked.
const DEFAULT: &str = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C \
                       POSTLOG_SERVICE POSTLOG_HOSTNAME";

/// Adds main.cf's block.
pub fn add(site: &Site, plan: &mut Plan, inputs: &Inputs) -> Result<()> {
    let main = site.read(MAIN)?.unwrap_or_default();
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
        if value.contains("libwritegate.so") {
            plan.notes.push(format!("{MAIN}:{line} has the library already; left as it is"));
            return Ok(());
        }
        return Err(Fault::new(
            CONFIG,
            format!(
                "{MAIN}:{line} sets import_environment already: not overwritten. Add to it: {ours}"
            ),
        ));
    }
    let default = if site.is_this_machine() { ask() } else { None };
    let default = default.unwrap_or_else(|| DEFAULT.into());
    let text = format!("import_environment = {default}\n    {ours}");
    plan.changes.push(Change {
        path: MAIN.into(),
        after: block::append(&main, "postfix", &text),
        whole: false,
    });
    plan.notes.push(
        "postdrop (mail submitted on this host by sendmail) is set-group-ID: it stays outside the \
         gate unless the library stands in /etc/ld.so.preload"
            .into(),
    );
    Ok(())
}

/// The default of this very Postfix.
fn ask() -> Option<String> {
    let out = std::process::Command::new("postconf")
        .args(["-dh", "import_environment"])
        .env_remove("LD_PRELOAD")
        .output()
        .ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    (out.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// The line and value of a parameter; lines that begin with a blank continue it.
fn setting(text: &str, name: &str) -> Option<(usize, String)> {
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
