//! What is asked of the evidence.

use std::path::PathBuf;

/// What is asked of the evidence.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Gather any (a rehearsal does without).
    pub gather: bool,
    /// Protected directories, as the freezer was told.
    pub paths: Vec<PathBuf>,
    /// Flush the file systems of the protected directories.
    pub sync: bool,
    /// What must have been checked, or have been.
    pub require: Vec<Require>,
}

/// What may be required of the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Require {
    /// Changes during the window were watched for.
    Fanotify,
    /// Kernel locks were compared with what the regions say.
    Locks,
    /// Coverage is full.
    Coverage,
    /// It became quiet within --wait-quiet; else nothing is held and no command runs.
    Quiet,
}

impl Wanted {
    /// Is this required?
    pub fn requires(&self, what: Require) -> bool {
        self.require.contains(&what)
    }
}
