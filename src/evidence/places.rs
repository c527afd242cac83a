//! Which files are protected, as far as the freezer can know.
//!
//! Named by `--paths`, the gate's profile, or the services' own `WRITEGATE_PATHS`.
//! Where none is named, everything on storage is held, but a change anywhere on
//! the machine is no evidence against a snapshot: then nothing can be watched.

use crate::census::list::Census;
use crate::gatedir::Gate;
use crate::linux::helper::owner::Helper;
use gate::profile::{self, Key};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many processes are asked for their environment.
const ASKED: usize = 64;

/// The protected places of one gate.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Protected directories, links resolved. Empty: not known.
    pub dirs: Vec<PathBuf>,
    profile: String,
    exclude: Vec<String>,
}

impl Places {
    /// Finds them out. `named`: as the freezer was told.
    pub fn of(
        gate: &Gate,
        census: &Census,
        at: usize,
        helper: &mut Helper,
        named: &[PathBuf],
    ) -> Places {
        let profile = gate.page.get().profile_text().to_owned();
        let mut dirs: BTreeSet<PathBuf> = named.iter().cloned().collect();
        let mut exclude = BTreeSet::new();
        dirs.extend(profile::values(&profile, Key::Path).map(PathBuf::from));
        for member in census.alive(at).take(ASKED) {
            let Some(described) = helper.describe(member.pid) else { continue };
            let parts = |name: &str| {
                let value = described.environ.get(name).cloned().unwrap_or_default();
                value.split(':').filter(|p| !p.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            };
            dirs.extend(parts("WRITEGATE_PATHS").into_iter().map(PathBuf::from));
            exclude.extend(parts("WRITEGATE_EXCLUDE"));
        }
        let resolved: BTreeSet<PathBuf> =
            dirs.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
        Places {
            dirs: resolved.into_iter().collect(),
            profile,
            exclude: exclude.into_iter().collect(),
        }
    }

    /// Is this path below a protected directory, and judged?
    pub fn holds(&self, path: &Path) -> bool {
        let bytes = path.as_os_str().as_bytes();
        self.dirs.iter().any(|dir| path.starts_with(dir))
            && !profile::matches(&self.profile, Key::Exclude, bytes)
            && !self.exclude.iter().any(|p| profile::glob(p.as_bytes(), bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_below_a_protected_directory_are_not_judged() {
        let places = Places {
            dirs: vec!["/srv/mail".into()],
            profile: "exclude = /srv/mail/stats/*".into(),
            exclude: vec!["*.tmp".into(), "*.log".into()],
        };
        assert!(places.holds(Path::new("/srv/mail/bob/1.")));
        for free in ["/srv/mailx/1.", "/srv/mail/a.log", "/srv/mail/stats/x", "/srv/mail/x.tmp"] {
            assert!(!places.holds(Path::new(free)), "{free}");
        }
    }
}
