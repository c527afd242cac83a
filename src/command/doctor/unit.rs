//! What a systemd unit's settings mean for the gate. Read from the unit's files, so
//! that it works in a chroot, an image, or before the next `daemon-reload`.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where units lie; the first one that has it counts.
const PLACES: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// One setting, and what it means here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Meaning {
    /// `Setting=value`.
    pub setting: String,
    /// Does it stand in the gate's way?
    pub harmful: bool,
    /// In one sentence.
    pub what: String,
}

/// The files of a unit, main file first, drop-ins in their order.
pub fn files(root: &Path, unit: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = PLACES
        .iter()
        .map(|place| root.join(place).join(unit))
        .find(|path| path.exists())
        .into_iter()
        .collect();
    // A drop-in's name, not its directory, says its place; the first directory wins.
    let mut dropins = BTreeMap::new();
    for place in PLACES {
        for entry in
            fs::read_dir(root.join(place).join(format!("{unit}.d"))).into_iter().flatten().flatten()
        {
            if entry.path().extension().is_some_and(|end| end == "conf") {
                dropins.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    found.extend(dropins.into_values());
    found
}

/// `[Service]` settings: all values, in order; an empty one begins anew.
pub fn settings(files: &[PathBuf]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default().replace("\\\n", " ");
        let mut in_service = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_service = line == "[Service]";
            } else if in_service
                && !line.starts_with(['#', ';'])
                && let Some((key, value)) = line.split_once('=')
            {
                let values = all.entry(key.trim().into()).or_default();
                match value.trim() {
                    "" => values.clear(),
                    value => values.push(value.into()),
                }
            }
        }
    }
    all
}

/// What the settings mean for a gate in this directory.
pub fn meanings(settings: &BTreeMap<String, Vec<String>>, dir: &str) -> Vec<Meaning> {
    let mut found = Vec::new();
    for (key, values) in settings {
        let value = values.join(" ");
        let on = matches!(value.as_str(), "yes" | "true" | "1" | "on");
        let hides = value.split_ascii_whitespace().any(|path| {
            let path = path.trim_start_matches(['-', '+']);
            let path = path.split(':').next().unwrap_or(path);
            Path::new(dir).starts_with(path)
        });
        let made_before = "the page must be there before it starts: a tmpfiles.d line and \
                           ExecStartPre=+ (writegate setup writes both)";
        let (harmful, what) = match key.as_str() {
            "PrivateTmp" if on => (false, "harmless: nothing of the gate lies in /tmp".to_owned()),
            "ProtectSystem" if value != "no" && value != "false" => (
                false,
                format!("the library reads below {dir} and writes nothing there; {made_before}"),
            ),
            "User" if value != "root" && value != "0" => {
                (false, format!("it never runs as root, so {made_before}"))
            }
            "DynamicUser" if on => (false, format!("it never runs as root, so {made_before}")),
            "RestrictAddressFamilies" => {
                (false, "harmless: the library opens no socket".to_owned())
            }
            "MemoryDenyWriteExecute" if on => {
                (false, "harmless: the library rewrites no text".to_owned())
            }
            "SystemCallFilter" => (
                false,
                "harmless with @system-service; without `membarrier` the library announces with \
                 locked stores (slower), without `futex` or `mmap` nothing starts at all"
                    .to_owned(),
            ),
            "NoNewPrivileges" if on => (
                false,
                "set-user-ID programs keep LD_PRELOAD, and gain no rights: one less cause of \
                 ungated processes"
                    .to_owned(),
            ),
            "ProcSubset" if value == "pid" => (
                true,
                "hides /proc/sys/kernel/random/boot_id, without which the library believes no \
                 page: set ProcSubset=all"
                    .to_owned(),
            ),
            "RootDirectory" | "RootImage" => (
                true,
                format!("another root: BindReadOnlyPaths={dir} and the library's directory"),
            ),
            "TemporaryFileSystem" | "InaccessiblePaths" if hides => {
                (true, format!("hides {dir}: add BindReadOnlyPaths={dir}"))
            }
            "RuntimeDirectory" if value.split_ascii_whitespace().any(|d| d.starts_with("writegate")) => (
                true,
                "systemd removes the gate's directory when the unit stops; processes left over, \
                 and other units of the gate, then map a page that is gone"
                    .to_owned(),
            ),
            _ => continue,
        };
        found.push(Meaning { setting: format!("{key}={value}"), harmful, what });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_mean_something() {
        let set =
            |key: &str, value: &str| BTreeMap::from([(key.to_owned(), vec![value.to_owned()])]);
        let harmful = |key, value| {
            meanings(&set(key, value), "/run/writegate/mail").first().map(|m| m.harmful)
        };
        assert_eq!(harmful("PrivateTmp", "yes"), Some(false));
        assert_eq!(harmful("PrivateTmp", "no"), None);
        assert_eq!(harmful("ProcSubset", "pid"), Some(true));
        assert_eq!(harmful("TemporaryFileSystem", "/run:ro"), Some(true));
        assert_eq!(harmful("InaccessiblePaths", "-/home"), None);
        assert_eq!(harmful("RuntimeDirectory", "writegate/mail"), Some(true));
    }
}
