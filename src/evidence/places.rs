//! Which files are protected, as far as the freezer can know.
//!
//! Named by `--paths`, the gate's profile, or the services' own `WRITEGATE_PATHS`.
//! Where none is named, everything on storage is held, but a change anywhere on
//! the machine is no evidence against a snapshot: then nothing can be watched.

use crate::census::list::Census;
use crate::census::member::Member;
use crate::foreign_text::ForeignText;
use crate::gatedir::Gate;
use crate::linux::helper::owner::Helper;
use crate::outcome::finding::{Cause, Subject};
use crate::outcome::ledger::Ledger;
use gate::profile::{self, Key};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The protected places of one gate.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Protected directories, links resolved. Empty: not known.
    pub dirs: Vec<PathBuf>,
    /// The same, opened.
    pub files: Vec<Arc<File>>,
    profile: String,
    /// What single processes exclude: of their own changes, and no others'.
    own_exclude: HashMap<i32, Vec<String>>,
}

impl Places {
    /// Finds them out. `named`: as the freezer was told.
    ///
    /// What could not be looked at goes to the ledger.
    ///
    /// The environment of a process is its owner's to choose. So of those that belong to the
    /// service only the most trusted are asked that name any: processes that no ordinary user
    /// controls, before those of ordinary users.
    pub fn of(
        gate: &Gate,
        census: &Census,
        at: usize,
        helper: &mut Helper,
        named: &[PathBuf],
        ledger: &mut Ledger,
    ) -> Places {
        let profile = gate.page.get().profile_text().to_owned();
        let mut dirs: BTreeSet<PathBuf> = named.iter().cloned().collect();
        dirs.extend(profile::values(&profile, Key::Path).map(PathBuf::from));
        let mut places = Places { profile, ..Places::default() };
        let trusted = |pid: i32| census.services[at].is_trusted(pid);
        let (first, then): (Vec<&Member>, Vec<&Member>) =
            census.alive(at).partition(|member| trusted(member.pid));
        for members in [first, then] {
            let mut of_these = BTreeSet::new();
            for member in members {
                let about = Some((member.pid, &member.stat.comm));
                let look = helper.environment(member.pid);
                let Some(environ) = ledger.take(Subject::Environment, about, look) else {
                    continue;
                };
                of_these.extend(parts(&environ, "WRITEGATE_PATHS").map(PathBuf::from));
                let exclude: Vec<String> = parts(&environ, "WRITEGATE_EXCLUDE").collect();
                if !exclude.is_empty() {
                    places.own_exclude.insert(member.pid, exclude);
                }
            }
            if !of_these.is_empty() {
                dirs.extend(of_these);
                break;
            }
        }
        places.open(&dirs, helper, ledger);
        places
    }

    /// Those that the freezer was told of, where no process is asked.
    pub fn named(
        named: &[PathBuf],
        profile: &str,
        helper: &mut Helper,
        ledger: &mut Ledger,
    ) -> Places {
        let mut dirs: BTreeSet<PathBuf> = named.iter().cloned().collect();
        dirs.extend(profile::values(profile, Key::Path).map(PathBuf::from));
        let mut places = Places { profile: profile.to_owned(), ..Places::default() };
        places.open(&dirs, helper, ledger);
        places
    }

    fn open(&mut self, dirs: &BTreeSet<PathBuf>, helper: &mut Helper, ledger: &mut Ledger) {
        let mut opened = BTreeMap::new();
        for dir in dirs {
            match helper.open(dir) {
                Ok((place, fd)) => drop(opened.insert(place, Arc::new(File::from(fd)))),
                Err(why) => ledger.note(Cause::NoDirectory(ForeignText::of_path(dir), why)),
            }
        }
        (self.dirs, self.files) = opened.into_iter().unzip();
    }

    /// Is this path below a protected directory, and judged?
    pub fn holds(&self, path: &Path) -> bool {
        let bytes = path.as_os_str().as_bytes();
        self.dirs.iter().any(|dir| path.starts_with(dir))
            && !profile::matches(&self.profile, Key::Exclude, bytes)
    }

    /// Is a change to it by this process judged? Its own environment may say that it is not.
    pub fn judges(&self, pid: i32, path: &Path) -> bool {
        let bytes = path.as_os_str().as_bytes();
        let own = self.own_exclude.get(&pid).map(Vec::as_slice).unwrap_or_default();
        self.holds(path) && !own.iter().any(|pattern| profile::glob(pattern.as_bytes(), bytes))
    }
}

/// The parts of a variable, between its colons.
fn parts(environ: &BTreeMap<String, String>, name: &str) -> impl Iterator<Item = String> {
    let value = environ.get(name).cloned().unwrap_or_default();
    let parts: Vec<String> = value.split(':').map(str::to_owned).collect();
    parts.into_iter().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_below_a_protected_directory_are_not_judged() {
        let places = Places {
            dirs: vec!["/srv/mail".into()],
            profile: "exclude = /srv/mail/stats/*".into(),
            own_exclude: HashMap::from([(7, vec!["*.tmp".into(), "*.log".into()])]),
            ..Places::default()
        };
        assert!(places.holds(Path::new("/srv/mail/bob/1.")));
        for free in ["/srv/mailx/1.", "/srv/mail/stats/x"] {
            assert!(!places.holds(Path::new(free)), "{free}");
        }
        for its_own in ["/srv/mail/a.log", "/srv/mail/x.tmp"] {
            assert!(!places.judges(7, Path::new(its_own)), "{its_own}");
            assert!(places.judges(8, Path::new(its_own)), "{its_own}: another's word");
        }
    }
}
