//! Whether a unit runs, as systemd says: what somebody has stopped is not started by a set-up.

use std::process::{Command, Stdio};

/// Why this unit's processes cannot be looked at, and what to do; none: it runs, or systemd says nothing (a
/// chroot, another init).
pub fn not_running(unit: &str) -> Option<String> {
    let asked = ["show", "--property=LoadState,ActiveState", unit];
    let said = Command::new("systemctl").args(asked).stdin(Stdio::null()).output().ok()?;
    let said = said.status.success().then_some(said.stdout)?;
    obstacle(unit, &String::from_utf8_lossy(&said))
}

/// What to do where the unit ran until this set-up restarted it, and does not run since.
pub fn lost(unit: &str, name: &str) -> String {
    format!(
        "{unit} ran, was restarted by this command, and does not run any more. Why: `journalctl -u {unit} -n 50`. Take our \
         part out and start it as it was: `writegate setup {name} --remove --apply && systemctl start {unit}`. If it does \
         not start then either, its own configuration has a fault since it was started last"
    )
}

fn obstacle(unit: &str, said: &str) -> Option<String> {
    let value = |key| said.lines().find_map(|line| line.strip_prefix(key));
    let masked = value("LoadState=")? == "masked";
    let state = value("ActiveState=")?;
    if !["inactive", "failed"].contains(&state) {
        return None;
    }
    let (what, unmask) = match masked {
        true => ("masked".to_owned(), format!("systemctl unmask {unit} && ")),
        false => (state.to_owned(), String::new()),
    };
    Some(format!(
        "{unit} does not run ({what}), and `setup` starts nothing that was stopped. The files are changed; \
         nothing was tried. When it may run: `{unmask}systemctl start {unit}`, then this command once more"
    ))
}

#[cfg(test)]
mod tests {
    use super::obstacle;

    #[test]
    fn only_what_is_stopped_is_an_obstacle() {
        let of = |load: &str, state: &str| {
            obstacle("x.service", &format!("LoadState={load}\nActiveState={state}\n"))
        };
        for state in ["active", "reloading", "activating", "deactivating"] {
            assert_eq!(of("loaded", state), None);
            assert_eq!(of("masked", state), None, "masked since it was started");
        }
        assert!(of("loaded", "inactive").is_some_and(|said| !said.contains("unmask")));
        assert!(of("loaded", "failed").is_some_and(|said| said.contains("(failed)")));
        assert!(
            of("masked", "inactive")
                .is_some_and(|said| said.contains("systemctl unmask x.service &&"))
        );
        assert_eq!(obstacle("x.service", ""), None, "systemd said nothing");
    }
}
