//! A plan: the files as they are to be, what must be run afterwards, what must be known.

/// One file as it is to be.
#[derive(Clone, Debug)]
pub struct Change {
    /// Absolute, as seen from the root directory that is set up.
    pub path: String,
    /// Its new text.
    pub after: String,
    /// We own the whole file; else only a block in it.
    pub whole: bool,
}

/// What is to be done, and to be said.
#[derive(Default)]
pub struct Plan {
    /// Files.
    pub changes: Vec<Change>,
    /// Commands that must be run afterwards, for a shell.
    pub then: Vec<String>,
    /// Those of them that must be run when it is undone, too.
    pub then_undo: Vec<String>,
    /// The unit that they restart, where there is systemd.
    pub service: Option<String>,
    /// What shows, after them, that it has worked: the doctor's arguments.
    pub check: Vec<String>,
    /// What the admin must know.
    pub notes: Vec<String>,
    /// What stands against it still (directories, instances, the library): said each time, until it is
    /// mended.
    pub to_mend: Vec<String>,
}

/// What a plan is made with.
pub struct Inputs {
    /// The gate.
    pub gate: String,
    /// The library's path, as the service will see it.
    pub library: String,
    /// What must be done before a server can load it.
    pub library_to_do: Option<String>,
    /// This command's path, as the service will see it.
    pub command: String,
}
