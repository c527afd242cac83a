//! Exim: `add_environment`, directly or by Debian's macro. Deliveries re-execute the
//! set-user-ID binary, where only a bare name in a standard directory is believed.

use super::block;
use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use crate::outcome::fault::{CONFIG, Fault, Result};
use std::os::unix::fs::MetadataExt;

const SET_USER_ID: u32 = 0o4000;

/// Adds the setting.
pub fn add(site: &Site, plan: &mut Plan, inputs: &Inputs) -> Result<()> {
    if inputs.gate != "default" {
        return Err(Fault::new(
            CONFIG,
            "Exim's deliveries are set-user-ID and believe no variable, so its gate must be \
             `default`: leave --gate away",
        ));
    }
    let direct = ["/etc/exim4/exim4.conf", "/etc/exim/exim.conf", "/etc/exim.conf"];
    if let Some(path) = direct.iter().find(|path| site.at(path).exists()) {
        let text = site.read(path)?.unwrap_or_default();
        refuse(path, &block::cut(&text, "exim"), "add_environment")?;
        // Before anything that begins a section; the main section comes first.
        let after = block::prepend(&text, "exim", "add_environment = LD_PRELOAD=libwritegate.so");
        plan.changes.push(Change { path: (*path).into(), after, whole: false });
    } else {
        debian(site, plan)?;
    }
    set_user_id(site, plan, inputs);
    Ok(())
}

/// The bit without which the loader takes no library into a set-user-ID program.
fn set_user_id(site: &Site, plan: &mut Plan, inputs: &Inputs) {
    let library = &inputs.library;
    let mode = site.at(library).metadata().map_or(0, |meta| meta.mode());
    if mode & SET_USER_ID != 0 {
        return;
    }
    // A package's file would lose its bit at the next upgrade; dpkg remembers an override.
    let packaged = site.has_any(&["/usr/share/doc/writegate/copyright"])
        && site.has_any(&["/usr/bin/dpkg-statoverride"]);
    let (set, take_back) = if packaged && library.starts_with("/usr/lib/") {
        (
            format!("dpkg-statoverride --update --add root root 4755 {library}"),
            format!("dpkg-statoverride --remove {library} && chmod 644 {library}"),
        )
    } else {
        (format!("chmod 4755 {library}"), format!("chmod 644 {library}"))
    };
    plan.then.push(set);
    plan.then_undo.push(take_back);
    plan.notes.push(format!(
        "deliveries are gated only if {library} lies in a standard library directory and has the \
         set-user-ID bit (the package writegate-setuid sets it too). What the bit allows: the \
         loader takes the library into every set-user-ID program whose LD_PRELOAD names it. \
         Without it deliveries run outside the gate, and `writegate doctor` says so"
    ));
}

fn debian(site: &Site, plan: &mut Plan) -> Result<()> {
    let about = site.read("/etc/exim4/update-exim4.conf.conf")?.unwrap_or_default();
    let split = about.lines().any(|line| {
        let line = line.trim();
        line.starts_with("dc_use_split_config=") && line.contains("true")
    });
    let path = if split {
        "/etc/exim4/conf.d/main/000_localmacros"
    } else {
        "/etc/exim4/exim4.conf.localmacros"
    };
    let text = site.read(path)?.unwrap_or_default();
    refuse(path, &block::cut(&text, "exim"), "MAIN_ADD_ENVIRONMENT")?;
    for entry in
        std::fs::read_dir(site.at("/etc/exim4/conf.d/main")).into_iter().flatten().flatten()
    {
        let other = format!("/etc/exim4/conf.d/main/{}", entry.file_name().to_string_lossy());
        if other != path {
            refuse(&other, &site.read(&other)?.unwrap_or_default(), "MAIN_ADD_ENVIRONMENT")?;
        }
    }
    let after = block::append(&text, "exim", "MAIN_ADD_ENVIRONMENT = LD_PRELOAD=libwritegate.so");
    plan.changes.push(Change { path: path.into(), after, whole: false });
    plan.then_undo.push("update-exim4.conf".into());
    plan.then.push("update-exim4.conf".into());
    Ok(())
}

/// Does a file set this already?
fn refuse(path: &str, text: &str, name: &str) -> Result<()> {
    let sets = |line: &str| {
        let line = line.trim();
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    match text.lines().enumerate().find(|(_, line)| sets(line)) {
        Some((number, _)) => Err(Fault::new(
            CONFIG,
            format!(
                "{path}:{} sets {name} already: not overwritten. Add to its list: \
                 : LD_PRELOAD=libwritegate.so",
                number + 1
            ),
        )),
        None => Ok(()),
    }
}
