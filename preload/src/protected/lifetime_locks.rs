//! Locks that a program holds as long as it lives: they begin no section.

use super::paths::with_path_of;
use super::remembered::FOR_A_TIME;
use crate::linux::confined;
use crate::linux::files::read_at;
use crate::linux::process;
use crate::text::number;
use crate::this_process::settings::settings;
use gate::locks::Lock;
use gate::profile::Key;

/// Is a lock with this path held for life, by the profile's patterns?
pub fn is_path_for_life(path: &[u8]) -> bool {
    !path.is_empty() && settings().matches(Key::LifetimeLock, path)
}

/// Is this lock one that its program holds for life, by the profile's patterns? Where it must
/// not be asked, it counts.
pub fn is_held_for_life(lock: &Lock) -> bool {
    if confined::by_itself() || FOR_A_TIME.has(lock.dev, lock.ino) {
        return false;
    }
    let for_life = with_path_of(lock.fd, false, is_path_for_life);
    if !for_life {
        FOR_A_TIME.put(lock.dev, lock.ino);
    }
    for_life
}

/// Is the locked file a pid file, because it contains this process's id and
/// nothing else? Looked at before a fork: daemons fork their services under it.
pub fn is_pid_file(lock: &Lock) -> bool {
    if confined::by_itself() {
        return false;
    }
    let mut content = [0u8; 24];
    let len = read_at(lock.fd, &mut content, 0);
    if !(1..=16).contains(&len) {
        return false;
    }
    let text = content.get(..len as usize).unwrap_or(&[]).trim_ascii();
    number(text).is_some_and(|(pid, rest)| rest.is_empty() && pid == process::pid() as u64)
}
