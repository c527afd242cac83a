//! Where a server stores: asked of the server itself, and written into its profile as `path` lines.
//!
//! | module | who is asked |
//! |---|---|
//! | [`cyrus`] | `imapd.conf` |
//! | [`dovecot`] | `doveconf`, below another root its files |
//! | [`postfix`] | `postconf`, below another root `main.cf` |
//! | [`exim`] | `exim -bP` |
//! | [`homes`] | `/etc/passwd`, where mail lies in home directories |
//!
//! A directory that a setting names is written even if it is not there, and that is said: a freeze
//! refuses it until it is. Of what nobody has set, and of the profile's usual directories, only those
//! are written that are there.

mod cyrus;
mod dovecot;
mod exim;
mod homes;
mod postfix;

use super::plan::Plan;
use super::site::Site;
use crate::command::servers::{Server, Tells};
use gate::profile::{self, Key};
use std::path::Path;

/// How a profile names a usual directory, for the case that nobody does.
const USUAL: &str = "# path = ";

/// What a server says of where it stores.
#[derive(Default, Debug, PartialEq, Eq)]
struct Told {
    /// Directories that its settings name: path and setting.
    set: Vec<(String, String)>,
    /// Those of settings that may not be in use: they count if they are there.
    usual: Vec<(String, String)>,
    /// What could not be told, to be said.
    untold: Vec<String>,
}

impl Told {
    /// What a setting names: the part before anything that depends on the user. `variables`: the
    /// letters that begin such a part.
    fn take(&mut self, setting: &str, value: &str, variables: &[char]) {
        match fixed_part(value, variables) {
            Some(path) => self.set.push((path, setting.into())),
            None => {
                self.untold.push(format!("{setting} = {value} names no directory for all users"))
            }
        }
    }
}

/// The directories of one server.
#[derive(Default)]
pub struct Directories {
    /// Path, and the setting that names it.
    found: Vec<(String, String)>,
    untold: Vec<String>,
}

/// Asks. `profile`: it names the usual directories.
pub fn find(site: &Site, server: &Server, profile: &str) -> Directories {
    let told = match server.tells {
        Tells::ImapdConf => cyrus::told(site),
        Tells::Doveconf => dovecot::told(site),
        Tells::Postconf => postfix::told(site),
        Tells::EximBp => exim::told(site),
        Tells::Nothing => None,
    };
    let usual = || {
        let lines = profile.lines().filter_map(|line| line.strip_prefix(USUAL));
        let usual = lines.map(|path| (path.trim().to_owned(), "usual for it".to_owned()));
        let untold = vec![format!(
            "{} could not be asked where it stores: what is usual for it was taken, as far as it is \
             there. See that all of its directories are named",
            server.title
        )];
        Told { usual: usual.collect(), untold, ..Told::default() }
    };
    let told = told.unwrap_or_else(usual);
    let there = |(path, _): &(String, String)| is_there(site, path);
    let mut found = told.set;
    found.extend(told.usual.into_iter().filter(there));
    Directories { found: outermost(found), untold: told.untold }
}

impl Directories {
    /// The profile with these directories in the place of the usual ones.
    pub fn written_into(&self, profile: &str) -> String {
        if self.found.is_empty() {
            return profile.to_owned();
        }
        let mut text = String::new();
        let mut written = false;
        for line in profile.lines() {
            if !line.starts_with(USUAL) {
                text += line;
                text.push('\n');
            } else if !written {
                written = true;
                self.found.iter().for_each(|(path, _)| text += &format!("path = {path}\n"));
            }
        }
        text
    }

    /// Says what is not there, or not known, or not in the profile as it stands.
    pub fn say(&self, site: &Site, plan: &mut Plan, conf: &str, stands: &str) {
        let named: Vec<&str> = profile::values(stands, Key::Path).collect();
        for (path, setting) in &self.found {
            if !is_there(site, path) {
                plan.directories.push(format!(
                    "{path} ({setting}) is not there: until it is, each freeze is refused. Make it, \
                     mend the setting, or take its line out of {conf}"
                ));
            }
            if !named.iter().any(|name| Path::new(path).starts_with(name)) {
                plan.directories.push(format!(
                    "{path} ({setting}) is not named in {conf}, which stands as you have edited it: \
                     add `path = {path}`"
                ));
            }
        }
        plan.directories.extend(self.untold.iter().cloned());
        if self.found.is_empty() && named.is_empty() {
            plan.directories.push(format!(
                "no directory is known that it stores in: name each by a line `path = DIR` in {conf}. \
                 Without one everything on storage is held, and what others change meanwhile is not seen"
            ));
        }
    }
}

/// The directories that lie in no other; what cannot be written as a line is left out.
fn outermost(mut found: Vec<(String, String)>) -> Vec<(String, String)> {
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    let all = found.clone();
    let inside = |path: &str, other: &str| path != other && Path::new(path).starts_with(other);
    found.retain(|(path, _)| !all.iter().any(|(other, _)| inside(path, other)));
    found
}

fn is_there(site: &Site, path: &str) -> bool {
    // A link below another root means something else than it does to us.
    let at = site.at(path);
    at.is_dir() || !site.is_this_machine() && at.is_symlink()
}

/// The directory that holds all that a value with variables stands for.
fn fixed_part(value: &str, variables: &[char]) -> Option<String> {
    let fixed = match value.find(variables) {
        Some(at) => &value[..value[..at].rfind('/')?],
        None => value,
    };
    let fixed = fixed.trim_end_matches('/');
    // In a profile a `#` begins a comment.
    let can_be_written = fixed.starts_with('/') && !fixed.contains(['#', '\n']);
    (can_be_written && fixed.trim() == fixed).then(|| fixed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_for_the_directory_above_its_first_variable() {
        for (value, fixed) in [
            ("/var/vmail/%d/%n", Some("/var/vmail")),
            ("/var/mail/$local_part", Some("/var/mail")),
            ("/var/vmail/", Some("/var/vmail")),
            ("/%u", None),
            ("relative/%u", None),
            ("%h/mail", None),
            ("/srv/a#b", None),
        ] {
            assert_eq!(fixed_part(value, &['%', '$']).as_deref(), fixed, "{value}");
        }
    }

    #[test]
    fn directories_take_the_place_of_the_usual_ones_each_once() {
        let names = ["/b/c", "/a", "/b", "/bc", "/a"].map(|path| (path.to_owned(), "x".to_owned()));
        let directories = Directories { found: outermost(names.to_vec()), untold: Vec::new() };
        let profile = "# which:\n# path = /usual\n# path = /other\n\nfirst = x\n";
        let text = directories.written_into(profile);
        assert_eq!(text, "# which:\npath = /a\npath = /b\npath = /bc\n\nfirst = x\n");
        assert_eq!(Directories::default().written_into(profile), profile);
    }
}
