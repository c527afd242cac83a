//! The settings, from profile and environment.

use super::environment::Environment;
use crate::linux::files::stat_at;
use crate::text::Path;
use crate::this_process::settings::Settings;
use gate::control::ControlPage;
use gate::profile::{self, Index, Key};
use linux_raw_sys::general::AT_FDCWD;

/// Copies the profile; false: it does not fit, or has a fault.
pub fn take_profile(settings: &mut Settings, control: &ControlPage) -> bool {
    if !settings.profile.set(control.profile_text().as_bytes()) {
        return false;
    }
    let index = Index::of(settings.profile.str());
    settings.index = index.unwrap_or(Index::EMPTY);
    index.is_some()
}

/// Protected and excluded paths, of environment and profile.
pub fn configure(settings: &mut Settings, env: &Environment) -> bool {
    // What does not fit is refused whole: half a list would protect half.
    if !settings.paths.set(env.paths) || !settings.exclude.set(env.exclude) {
        return false;
    }
    if env.paths.is_empty() {
        let mut joined = Path::new();
        for path in profile::values(settings.profile.str(), Key::Path) {
            joined.push(path.as_bytes());
            joined.push(b":");
        }
        if joined.too_long || !settings.paths.set(joined.bytes()) {
            return false;
        }
    }
    for directory in settings.paths.bytes().split(|c| *c == b':').filter(|p| !p.is_empty()) {
        let mut path = Path::new();
        path.push(directory);
        // SAFETY: a `Buffer` always ends with a NUL.
        if let Some(stat) = unsafe { stat_at(AT_FDCWD, path.c()) }
            && let Some(place) = settings.devices.get_mut(settings.device_count)
        {
            *place = stat.dev;
            settings.device_count += 1;
        }
    }
    true
}
