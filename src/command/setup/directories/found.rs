//! The directories of a server, as they are written into its profile, and what there is to say of them.

use crate::command::setup::plan::Plan;
use crate::command::setup::site::Site;
use gate::profile::{self, Key};
use std::path::Path;

/// How a profile names a usual directory, for the case that nobody does.
pub const USUAL: &str = "# path = ";

/// The directories of one server.
#[derive(Default)]
pub struct Directories {
    /// Path, and the setting that names it.
    found: Vec<(String, String)>,
    untold: Vec<String>,
}

impl Directories {
    /// These, and what could not be told.
    pub fn new(found: Vec<(String, String)>, untold: Vec<String>) -> Directories {
        Directories { found: outermost(found), untold }
    }

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
            if !site.has_directory(path) {
                plan.to_mend.push(format!(
                    "{path} ({setting}) is not there: until it is, each freeze is refused. Make it, \
                     mend the setting, or take its line out of {conf}"
                ));
            }
            if !named.iter().any(|name| Path::new(path).starts_with(name)) {
                plan.to_mend.push(format!(
                    "{path} ({setting}) is not named in {conf}, which stands as you have edited it: \
                     add `path = {path}`"
                ));
            }
        }
        plan.to_mend.extend(self.untold.iter().cloned());
        if self.found.is_empty() && named.is_empty() {
            plan.to_mend.push(format!(
                "no directory is known that it stores in: name each by a line `path = DIR` in {conf}. \
                 Without one everything on storage is held, and what others change meanwhile is not seen"
            ));
        }
    }
}

/// The directories that lie in no other.
fn outermost(mut found: Vec<(String, String)>) -> Vec<(String, String)> {
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    let all = found.clone();
    let inside = |path: &str, other: &str| path != other && Path::new(path).starts_with(other);
    found.retain(|(path, _)| !all.iter().any(|(other, _)| inside(path, other)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_take_the_place_of_the_usual_ones_each_once() {
        let names = ["/b/c", "/a", "/b", "/bc", "/a"].map(|path| (path.to_owned(), "x".to_owned()));
        let directories = Directories::new(names.to_vec(), Vec::new());
        let profile = "# which:\n# path = /usual\n# path = /other\n\nfirst = x\n";
        let text = directories.written_into(profile);
        assert_eq!(text, "# which:\npath = /a\npath = /b\npath = /bc\n\nfirst = x\n");
        assert_eq!(Directories::default().written_into(profile), profile);
    }
}
