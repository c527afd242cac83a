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

/// The files of a unit, main file first, drop-ins in their order. An instance's are those of
/// its template too.
pub fn files(root: &Path, unit: &str) -> Vec<PathBuf> {
    let names: Vec<String> =
        [Some(unit.to_owned()), template(unit)].into_iter().flatten().collect();
    let mut found: Vec<PathBuf> = names
        .iter()
        .flat_map(|name| PLACES.iter().map(move |place| root.join(place).join(name)))
        .find(|path| path.exists() && !is_mask(path))
        .into_iter()
        .collect();
    // A drop-in's name, not its directory, says its place; the first directory wins.
    let mut dropins = BTreeMap::new();
    for (name, place) in names.iter().flat_map(|name| PLACES.map(|place| (name, place))) {
        for entry in
            fs::read_dir(root.join(place).join(format!("{name}.d"))).into_iter().flatten().flatten()
        {
            if entry.path().extension().is_some_and(|end| end == "conf") {
                dropins.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    found.extend(dropins.into_values());
    found
}

/// `systemctl mask` puts a link to /dev/null in front of a unit's file: what it sets counts again once that is gone.
fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

/// The template of an instance: `postfix@.service` of `postfix@-.service`.
pub fn template(unit: &str) -> Option<String> {
    let (name, rest) = unit.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{name}@.{kind}"))
}

/// Does a unit start nothing? Debian 12's postfix.service runs /bin/true, and holds the
/// instances together that are the server.
pub fn starts_nothing(settings: &Settings) -> bool {
    let starts = settings.get("ExecStart").map_or(&[][..], Vec::as_slice);
    let nothing = |command: &String| {
        command.trim_start_matches(['-', '+', '@', '!', ':']).ends_with("/bin/true")
    };
    !starts.is_empty() && starts.iter().all(nothing)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_a_template_and_umbrellas_start_nothing() {
        assert_eq!(template("postfix@-.service").as_deref(), Some("postfix@.service"));
        assert_eq!(template("postfix@.service"), None);
        assert_eq!(template("postfix.service"), None);
        let of = |start: &str| Settings::from([("ExecStart".into(), vec![start.into()])]);
        assert!(starts_nothing(&of("/bin/true")) && starts_nothing(&of("-/usr/bin/true")));
        assert!(!starts_nothing(&of("/usr/sbin/postfix start")));
        assert!(!starts_nothing(&Settings::new()), "one that says nothing of it");
    }
}
