//! Dovecot: `import_environment` in a file of its own below conf.d.

use super::plan::{Change, Inputs, Plan};
use super::server_tool;
use super::site::Site;
use crate::outcome::fault::{CONFIG, Fault, Result};

const MAIN: &str = "/etc/dovecot/dovecot.conf";
const OURS: &str = "/etc/dovecot/conf.d/99-writegate.conf";
/// `doveconf -dh import_environment` of 2.3, where it cannot be asked.
const DEFAULT: &str = "TZ CORE_OUTOFMEM CORE_ERROR LISTEN_PID LISTEN_FDS NOTIFY_SOCKET";
/// Handed on from the unit's environment; names that are not set there mean nothing.
const NAMES: &str = "LD_PRELOAD WRITEGATE_GATE WRITEGATE_DIR WRITEGATE_PATHS WRITEGATE_EXCLUDE \
                     WRITEGATE_CONF";

/// Adds the file.
pub fn add(site: &Site, plan: &mut Plan, inputs: &Inputs) -> Result<()> {
    let main = site.read(MAIN)?.unwrap_or_default();
    if let Some(note) = set_already(site, &main)? {
        plan.notes.push(note);
        return Ok(());
    }
    refuse_without_include(&main)?;
    let setting = if is_new_form(&main) {
        new_form()
    } else {
        let asked = server_tool::ask(site, &["doveconf"], &["-dh", "import_environment"]);
        let default = asked.as_deref().map_or(DEFAULT, str::trim);
        format!("import_environment = {default} {NAMES}\n")
    };
    plan.changes.push(Change {
        path: OURS.into(),
        after: format!(
            "# Made by `writegate setup dovecot`; --remove takes it away.\n\
             # Hands the library on from the master (the unit's environment) to every process.\n\
             {setting}"
        ),
        whole: true,
    });
    plan.notes.push(format!(
        "doveadm, dovecot-lda from other programs and cron jobs run outside the gate: \
         `writegate exec -g {} -- doveadm ...`",
        inputs.gate
    ));
    Ok(())
}

/// Dovecot 2.4 writes maps in braces, and adds to its default what stands there.
fn is_new_form(main: &str) -> bool {
    uncommented(main).any(|(_, line)| line.starts_with("dovecot_config_version"))
}

fn new_form() -> String {
    // A name that the master does not have would be handed on empty, and mean something else.
    let names = ["LD_PRELOAD", "WRITEGATE_GATE"];
    let lines = names.map(|name| format!("  {name} = %{{env:{name}}}\n"));
    format!("import_environment {{\n{}}}\n", lines.concat())
}

/// Does another file set import_environment? A note if it hands the library on already,
/// a fault if it does not.
fn set_already(site: &Site, main: &str) -> Result<Option<String>> {
    let mut files = vec![(MAIN.to_owned(), main.to_owned())];
    for dir in ["/etc/dovecot/conf.d", "/etc/dovecot"] {
        for entry in std::fs::read_dir(site.at(dir)).into_iter().flatten().flatten() {
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            if path.ends_with(".conf") && path != OURS && path != MAIN {
                files.push((path.clone(), site.read(&path)?.unwrap_or_default()));
            }
        }
    }
    files.sort();
    let sets = |(path, text): &(String, String)| {
        let mut lines = uncommented(text);
        let (number, line) = lines.find(|(_, line)| line.starts_with("import_environment"))?;
        let mut theirs = line.to_owned();
        if line.ends_with('{') {
            lines.take_while(|(_, line)| *line != "}").for_each(|(_, line)| theirs += line);
        }
        Some((format!("{path}:{number}"), theirs))
    };
    let Some((place, theirs)) = files.iter().find_map(sets) else { return Ok(None) };
    if theirs.contains("LD_PRELOAD") && theirs.contains("WRITEGATE_GATE") {
        return Ok(Some(format!("{place} hands the library on already; left as it is")));
    }
    Err(Fault::new(
        CONFIG,
        format!("{place} sets import_environment already: not overwritten. Add to it: {NAMES}"),
    ))
}

fn refuse_without_include(main: &str) -> Result<()> {
    let includes = |line: &str| line.starts_with("!include") && line.contains("conf.d/");
    if uncommented(main).any(|(_, line)| includes(line)) {
        return Ok(());
    }
    Err(Fault::new(
        CONFIG,
        format!(
            "{MAIN} does not include conf.d/*.conf, so a file there would mean nothing. \
             Add to {MAIN}: import_environment = {DEFAULT} {NAMES}"
        ),
    ))
}

fn uncommented(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    lines.filter(|(_, line)| !line.starts_with('#'))
}
