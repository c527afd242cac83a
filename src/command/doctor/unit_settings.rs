//! What a systemd unit's settings mean for the gate.

use crate::command::unit_files::Settings;
use serde::Serialize;
use std::path::Path;

/// One setting, and what it does to the gate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SettingEffect {
    /// `Setting=value`.
    pub setting: String,
    /// Does it stand in the gate's way?
    pub harmful: bool,
    /// In one sentence.
    pub what: String,
}

/// What lies here is gone with the machine's boot.
const TMPFS: &str = "/run";

/// What the settings mean for a gate in this directory; those that mean nothing are
/// left out.
pub fn effects(settings: &Settings, dir: &str) -> Vec<SettingEffect> {
    let mut found = Vec::new();
    for (key, values) in settings {
        let value = values.join(" ");
        let setting = format!("{key}={value}");
        if let Some(what) = obstacle(key, &value, dir) {
            found.push(SettingEffect { setting, harmful: true, what });
        } else if let Some(what) = remark(key, &value, dir) {
            found.push(SettingEffect { setting, harmful: false, what });
        }
    }
    found
}

/// Settings that stand in the gate's way.
fn obstacle(key: &str, value: &str, dir: &str) -> Option<String> {
    let mut words = value.split_ascii_whitespace();
    let hides = |path: &str| {
        let path = path.trim_start_matches(['-', '+']);
        let path = path.split(':').next().unwrap_or(path);
        Path::new(dir).starts_with(path)
    };
    let what = match key {
        "ProcSubset" if value == "pid" && !Path::new(dir).starts_with(TMPFS) => {
            format!(
                "hides /proc/sys/kernel/random/boot_id, without which a page in {dir} may not be \
                 believed after a boot: set ProcSubset=all, or have the gates below {TMPFS}"
            )
        }
        "RootDirectory" | "RootImage" => {
            format!("another root: BindReadOnlyPaths={dir} and the library's directory")
        }
        "TemporaryFileSystem" | "InaccessiblePaths" if words.any(hides) => {
            format!("hides {dir}: add BindReadOnlyPaths={dir}")
        }
        "RuntimeDirectory" if words.any(|d| d.starts_with("writegate")) => {
            "systemd removes the gate's directory when the unit stops; processes left over, and \
             other units of the gate, then map a page that is gone"
                .to_owned()
        }
        _ => return None,
    };
    Some(what)
}

/// Settings after which somebody may ask, and that do no harm.
fn remark(key: &str, value: &str, dir: &str) -> Option<String> {
    let on = matches!(value, "yes" | "true" | "1" | "on");
    let made_before = "the page must be there before it starts: a tmpfiles.d line and \
                       ExecStartPre=+ (writegate setup writes both)";
    let what = match key {
        "ProcSubset" if value == "pid" => {
            format!("harmless: a page below {TMPFS}, a tmpfs, is of this boot, whatever is hidden")
        }
        "PrivateTmp" if on => "harmless: nothing of the gate lies in /tmp".to_owned(),
        "ProtectSystem" if value != "no" && value != "false" => {
            format!("the library reads below {dir} and writes nothing there; {made_before}")
        }
        "User" if value != "root" && value != "0" => {
            format!("it never runs as root, so {made_before}")
        }
        "DynamicUser" if on => format!("it never runs as root, so {made_before}"),
        "RestrictAddressFamilies" => "harmless: the library opens no socket".to_owned(),
        "MemoryDenyWriteExecute" if on => "harmless: the library rewrites no text".to_owned(),
        "SystemCallFilter" => {
            "harmless with @system-service; without `membarrier` the library announces with \
             locked stores (slower), without `futex` or `mmap` nothing starts at all"
                .to_owned()
        }
        "NoNewPrivileges" if on => "set-user-ID programs keep LD_PRELOAD, and gain no rights: one \
                                    less cause of ungated processes"
            .to_owned(),
        _ => return None,
    };
    Some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_mean_something() {
        let set = |key: &str, value: &str| Settings::from([(key.into(), vec![value.into()])]);
        let harmful = |key, value| {
            effects(&set(key, value), "/run/writegate/mail").first().map(|m| m.harmful)
        };
        assert_eq!(harmful("PrivateTmp", "yes"), Some(false));
        assert_eq!(harmful("PrivateTmp", "no"), None);
        assert_eq!(harmful("ProcSubset", "pid"), Some(false));
        let elsewhere = effects(&set("ProcSubset", "pid"), "/srv/gates/mail");
        assert!(elsewhere[0].harmful);
        assert_eq!(harmful("TemporaryFileSystem", "/run:ro"), Some(true));
        assert_eq!(harmful("InaccessiblePaths", "-/home"), None);
        assert_eq!(harmful("RuntimeDirectory", "writegate/mail"), Some(true));
    }
}
