//! Locks that a program holds as long as it lives: they begin no section.

use super::paths::with_path_of;
use super::remembered::FOR_A_TIME;
use crate::linux::confined;
use crate::linux::files::read_at;
use crate::linux::process;
use crate::text::number;
use crate::this_process::settings::settings;
use gate::locks::{Lock, Table};
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

/// The size that a file with a process id has at most.
const PID_SIZE: i64 = 16;

/// May a file of this size be a pid file, or become one?
pub fn is_small(size: i64) -> bool {
    size <= PID_SIZE
}

/// Are all locks that count on pid files: files that contain this process's id and nothing
/// else? Looked at before a fork: daemons fork their services under them. What is changed under
/// them later is a set like any other.
pub fn are_pid_files(table: Table<'_>) -> bool {
    let mut counting = table.locks().filter(Lock::counts).peekable();
    counting.peek().is_some() && counting.all(|lock| is_pid_file(&lock))
}

fn is_pid_file(lock: &Lock) -> bool {
    if confined::by_itself() {
        return false;
    }
    let mut content = [0u8; 24];
    let len = read_at(lock.fd, &mut content, 0);
    if !(1..=PID_SIZE as isize).contains(&len) {
        return false;
    }
    let text = content.get(..len as usize).unwrap_or(&[]).trim_ascii();
    number(text).is_some_and(|(pid, rest)| rest.is_empty() && pid == process::pid() as u64)
}
