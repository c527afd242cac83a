//! A systemd unit's files and settings. Read from the files, so that it works in a
//! chroot, an image, or before the next `daemon-reload`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Settings of a `[Service]` section: all values of each, in their order.
pub type Settings = BTreeMap<String, Vec<String>>;

/// Where units lie; the first one that has it counts.
const PLACES: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

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
pub fn settings(files: &[PathBuf]) -> Settings {
    let mut all = Settings::new();
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
