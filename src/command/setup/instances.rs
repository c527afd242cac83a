//! Postfix's instances: each has a configuration directory, and a `main.cf`, of its own.

use super::main_cf::setting;
use super::server_tool;
use super::site::Site;
use crate::command::library;
use crate::outcome::fault::{CONFIG, Fault, Result};
use std::path::Path;

/// Where the default instance has its configuration.
pub const DIRECTORY: &str = "/etc/postfix";
/// Names the instances that `postmulti` manages.
const INSTANCES: &str = "multi_instance_directories";
/// Names further directories, each of which may have a master of its own.
const ALTERNATES: &str = "alternate_config_directories";

/// The configuration directories of this system.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Instances {
    /// Of every instance that main.cf names, the default one first.
    pub directories: Vec<String>,
    /// Look like one's, and main.cf does not name them.
    pub unlisted: Vec<String>,
    /// Values that only Postfix itself could expand.
    pub untold: Vec<String>,
}

/// Which there are. One that is named and has no main.cf is a fault: its server would run ungated.
pub fn of(site: &Site) -> Result<Instances> {
    let [instances, alternates] = named(site)?;
    let mut found = Instances { directories: vec![DIRECTORY.into()], ..Instances::default() };
    for directory in listed(&instances, &mut found.untold) {
        if !has_main(site, &directory) {
            return Err(Fault::new(
                CONFIG,
                format!(
                    "{} is not there, and {INSTANCES} in {DIRECTORY}/main.cf names its directory",
                    site.at(&format!("{directory}/main.cf")).display()
                ),
            ));
        }
        found.add(directory);
    }
    for directory in listed(&alternates, &mut found.untold) {
        if has_main(site, &directory) {
            found.add(directory);
        }
    }
    found.unlisted = unlisted(site, &found.directories);
    Ok(found)
}

impl Instances {
    fn add(&mut self, directory: String) {
        if !self.directories.contains(&directory) {
            self.directories.push(directory);
        }
    }

    /// What an admin must know of those that are not set up.
    pub fn remarks(&self) -> Vec<String> {
        let unlisted = self.unlisted.iter().map(|directory| {
            format!(
                "{directory} has a main.cf and was NOT set up: {INSTANCES} in {DIRECTORY}/main.cf \
                 does not name it. If a Postfix runs from there, add it to that line and run this \
                 again; until then that one is not gated"
            )
        });
        let untold = self.untold.iter().map(|value| {
            format!(
                "{DIRECTORY}/main.cf names the instance {value}, which only this system's own Postfix \
                 could expand: it was NOT set up. Write its directory out, and run this again"
            )
        });
        unlisted.chain(untold).collect()
    }
}

/// Does the main.cf of this directory hand the library on?
fn is_set_up(site: &Site, directory: &str) -> bool {
    let main = site.read(&format!("{directory}/main.cf")).ok().flatten().unwrap_or_default();
    setting(&main, "import_environment").is_some_and(|(_, value)| value.contains(library::NAME))
}

/// The directories whose instance does not hand the library on, where another one does.
pub fn left_out(root: &Path) -> Vec<String> {
    let site = Site::new(root);
    let Ok(found) = of(&site) else { return Vec::new() };
    let all = found.directories.into_iter().chain(found.unlisted);
    let (set_up, left_out): (Vec<_>, Vec<_>) =
        all.partition(|directory| is_set_up(&site, directory));
    if set_up.is_empty() { Vec::new() } else { left_out }
}

/// What main.cf says of both, as Postfix understands it where it can be asked.
fn named(site: &Site) -> Result<[String; 2]> {
    let names = [INSTANCES, ALTERNATES];
    let arguments = [&["-c", DIRECTORY, "-xh"], &names[..]].concat();
    if let Some(text) = server_tool::ask(site, &["postconf"], &arguments) {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Ok(lines) = lines.try_into() {
            return Ok(lines);
        }
    }
    let main = site.read(&format!("{DIRECTORY}/main.cf"))?.unwrap_or_default();
    Ok(names.map(|name| setting(&main, name).map_or_else(String::new, |(_, value)| value)))
}

/// The directories in a value; what cannot be one goes to `untold`.
fn listed(value: &str, untold: &mut Vec<String>) -> Vec<String> {
    let words = value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    let (plain, other): (Vec<_>, Vec<_>) =
        words.partition(|word| word.starts_with('/') && !word.contains('$'));
    untold.extend(other.into_iter().map(str::to_owned));
    plain.into_iter().map(|word| word.trim_end_matches('/').to_owned()).collect()
}

/// `/etc/postfix-NAME` and the like, but for what is plainly a copy.
fn unlisted(site: &Site, listed: &[String]) -> Vec<String> {
    let entries = std::fs::read_dir(site.at("/etc")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names
        .filter(|name| name.starts_with("postfix") && !name.contains(['.', '~']))
        .map(|name| format!("/etc/{name}"))
        .filter(|path| !listed.contains(path) && has_main(site, path))
        .collect();
    found.sort();
    found
}

fn has_main(site: &Site, directory: &str) -> bool {
    site.has_any(&[&format!("{directory}/main.cf")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_split_as_postfix_does() {
        let mut untold = Vec::new();
        let value = "/etc/postfix-a, /etc/b/\t/srv/c,${config_directory}-d";
        assert_eq!(listed(value, &mut untold), ["/etc/postfix-a", "/etc/b", "/srv/c"]);
        assert_eq!(untold, ["${config_directory}-d"]);
    }
}
