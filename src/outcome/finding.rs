//! Something found that speaks for or against the snapshot: a cause, with the process and the file that it is about.

use crate::foreign_text::ForeignText;
use crate::outcome::cause::Cause;
use crate::outcome::cause::meaning::FindingKind;
use serde::{Deserialize, Serialize};

/// Something found that speaks for or against the snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it means.
    pub kind: FindingKind,
    /// The process, if there is one.
    pub pid: Option<i32>,
    /// Its program.
    pub program: Option<ForeignText>,
    /// The file.
    pub path: Option<ForeignText>,
    /// The cause's name for machines ([`Cause::id`]).
    pub cause: String,
    /// In words.
    pub what: String,
    /// Not known of a finding that was read from a record: nothing is decided by it any more.
    #[serde(skip)]
    known: Option<Cause>,
}

impl From<Cause> for Finding {
    fn from(cause: Cause) -> Finding {
        Finding {
            kind: cause.kind(),
            pid: None,
            program: None,
            path: None,
            cause: cause.id().into(),
            what: cause.sentence(),
            known: Some(cause),
        }
    }
}

impl Finding {
    /// About a process.
    pub fn of(cause: Cause, pid: i32, program: Option<ForeignText>) -> Finding {
        Finding { pid: Some(pid), program, ..Finding::from(cause) }
    }

    /// About this file too.
    pub fn at(self, path: impl Into<ForeignText>) -> Finding {
        Finding { path: Some(path.into()), ..self }
    }

    /// Its cause; none of a finding that was read from a record.
    pub fn known(&self) -> Option<&Cause> {
        self.known.as_ref()
    }

    /// See [`Cause::is_about_locks`].
    pub fn is_about_locks(&self) -> bool {
        self.known().is_some_and(Cause::is_about_locks)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, "pid {pid}")?;
            if let Some(program) = &self.program {
                write!(f, " ({program})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        if let Some(path) = &self.path {
            write!(f, ": {path}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_about_a_lock_decides_nothing() {
        let clock = Finding::from(Cause::NotWatched("/srv/lock".into(), "Block device".into()));
        assert!(clock.what.contains("lock") && !clock.is_about_locks());
        let overflow = Finding::of(Cause::LocksOverflowed, 7, Some("imap".into())).at("/srv/index");
        assert!(overflow.is_about_locks());
        assert_eq!(
            overflow.to_string(),
            "pid 7 (imap): may hold locks that its region does not show: /srv/index"
        );
        let read: Finding =
            serde_json::from_str(&serde_json::to_string(&overflow).unwrap()).unwrap();
        assert_eq!((read.kind, read.what.as_str()), (FindingKind::Uncovered, &*overflow.what));
        assert!(!read.is_about_locks());
    }
}
