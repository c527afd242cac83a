//! What is asked of the evidence.

use crate::outcome::ledger::Terms;
use std::path::PathBuf;

/// What is asked of the evidence.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Gather any (a rehearsal does without).
    pub gather: bool,
    /// Protected directories, as the freezer was told.
    pub paths: Vec<PathBuf>,
    /// Hold those at rest that no gate holds, whatever the profile says of it.
    pub hold_ungated: bool,
    /// The same, and gated processes of these programs (patterns).
    pub hold_programs: Vec<String>,
    /// Flush the file systems of the protected directories.
    pub sync: bool,
    /// What must have been checked, or have been.
    pub require: Vec<Require>,
    /// What is accepted though it is known against the snapshot.
    pub accept: Vec<Accept>,
}

/// What may be required of the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Require {
    /// Changes during the window were watched for, names and contents (once called `fanotify`).
    #[value(alias = "fanotify")]
    Watched,
    /// Kernel locks were compared with what the regions say.
    Locks,
    /// Coverage is full.
    Coverage,
    /// It became quiet within --wait-quiet; else nothing is held and no command runs.
    Quiet,
}

/// What may be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Accept {
    /// Coverage is partial: an ungated process of the service, a shared writable mapping, aio,
    /// io_uring.
    Partial,
}

impl Wanted {
    /// The same, as the verdict is judged by.
    pub fn terms(&self) -> Terms {
        Terms {
            watched: self.requires(Require::Watched),
            coverage: self.requires(Require::Coverage),
            locks: self.requires(Require::Locks),
            accept_partial: self.accept.contains(&Accept::Partial),
        }
    }

    /// Is this required?
    pub fn requires(&self, what: Require) -> bool {
        self.require.contains(&what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_term_is_the_option_of_its_name() {
        let none = Terms::default();
        assert_eq!(Wanted::default().terms(), none);
        let with = |what| Wanted { require: vec![what], ..Wanted::default() };
        assert_eq!(with(Require::Watched).terms(), Terms { watched: true, ..none });
        assert_eq!(with(Require::Coverage).terms(), Terms { coverage: true, ..none });
        assert_eq!(with(Require::Locks).terms(), Terms { locks: true, ..none });
        assert_eq!(with(Require::Quiet).terms(), none);
        assert!(with(Require::Quiet).requires(Require::Quiet));
        assert!(!with(Require::Quiet).requires(Require::Locks));
        let accepting = Wanted { accept: vec![Accept::Partial], ..Wanted::default() };
        assert_eq!(accepting.terms(), Terms { accept_partial: true, ..none });
    }
}
