//! The gate of this demo: what its service and its freezes are told, and what a freeze said.

use crate::Result;
use std::path::{Path, PathBuf};

/// Where everything of it lies.
pub struct Gate {
    library: PathBuf,
    command: PathBuf,
    directory: PathBuf,
    tree: PathBuf,
}

impl Gate {
    /// A gate in the work folder that protects the tree.
    pub fn new(work: &Path, tree: &Path) -> Result<Gate> {
        let binaries = match std::env::var_os("WRITEGATE_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            // target/release/examples/demo
            None => {
                std::env::current_exe()?.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
            }
        };
        let (library, command) = (binaries.join("libwritegate.so"), binaries.join("writegate"));
        for file in [&library, &command] {
            if !file.exists() {
                return Err(format!("{} is missing: cargo build --release", file.display()).into());
            }
        }
        // The loader splits LD_PRELOAD at blanks and colons.
        let splits = library.to_string_lossy().contains([' ', ':']);
        let library = if splits {
            let copy = work.join("libwritegate.so");
            if !copy.exists() {
                std::fs::copy(&library, &copy)?;
            }
            copy
        } else {
            library
        };
        Ok(Gate { library, command, directory: work.join("gates"), tree: tree.into() })
    }

    /// For the command.
    pub fn settings(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("WRITEGATE_GATE", "demo".into()),
            ("WRITEGATE_DIR", self.directory.clone()),
            ("WRITEGATE_PATHS", self.tree.clone()),
        ]
    }

    /// For a gated process.
    pub fn service(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        self.settings().into_iter().chain([("LD_PRELOAD", self.library.clone())])
    }

    /// One freeze around a copy of the tree.
    pub fn freeze(&self, copy: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(&self.command);
        command.args(["freeze", "-g", "demo", "-t", "5s", "--drain", "3s", "--retries", "0", "--"]);
        command.args(["cp", "-a"]).args([&self.tree, copy]).envs(self.settings());
        command
    }
}

/// What a freeze said.
pub struct Outcome {
    pub code: Option<i32>,
    pub said: String,
}

impl Outcome {
    /// Its verdict line.
    pub fn line(&self) -> Option<&str> {
        self.said.lines().rev().find(|line| line.contains(" verdict="))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.line()?.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn consistent(&self) -> bool {
        self.code == Some(0) && self.field("verdict") == Some("CONSISTENT")
    }

    /// A duration of it.
    pub fn milliseconds(&self, name: &str) -> Option<f64> {
        let text = self.field(name)?;
        let unit = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ')?;
        let factor = match &text[unit..] {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            _ => return None,
        };
        Some(text[..unit].parse::<f64>().ok()? * factor)
    }
}
