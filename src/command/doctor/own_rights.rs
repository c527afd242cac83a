//! What the doctor itself may do: its own rights decide what it can see.

use crate::linux::procfs::effective_capabilities;
use serde::Serialize;
use std::fs;

/// A right that is missing, or that changes what can be seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MissingRight {
    /// In one sentence.
    pub what: String,
    /// What to do.
    pub cure: String,
}

const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const CHECKPOINT_RESTORE: u32 = 40;

/// The rights that are missing here.
pub fn missing() -> Vec<MissingRight> {
    let capabilities = effective_capabilities();
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    of(nix::unistd::geteuid().as_raw(), capabilities, yama)
}

fn of(uid: u32, capabilities: u64, yama: Option<u32>) -> Vec<MissingRight> {
    let has = |bit: u32| capabilities & (1 << bit) != 0;
    let mut missing = Vec::new();
    if !has(SYS_PTRACE) {
        let (what, cure) = if uid == 0 {
            (
                "you are root without CAP_SYS_PTRACE (a container's root, most likely): other \
                 users' processes cannot be looked into",
                "give the container CAP_SYS_PTRACE, or run writegate on the host",
            )
        } else {
            (
                "you are not root: only processes of your own can be looked into, and only gates \
                 of your own frozen",
                "run it as root",
            )
        };
        missing.push(MissingRight { what: what.into(), cure: cure.into() });
        if uid != 0 && yama.is_some_and(|scope| scope > 0) {
            missing.push(MissingRight {
                what: format!(
                    "kernel.yama.ptrace_scope is {}: you may look into your own descendants only",
                    yama.unwrap_or(0)
                ),
                cure: "start the service from this very shell, or run it as root".into(),
            });
        }
    } else if !has(CHECKPOINT_RESTORE) && !has(SYS_ADMIN) {
        missing.push(MissingRight {
            what: "without CAP_CHECKPOINT_RESTORE regions are read, not mapped: 3 µs a process \
                   and pass instead of none"
                .into(),
            cure: "add the capability where there are hundreds of processes".into(),
        });
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_all_capabilities_nothing_is_missing() {
        assert!(of(0, !0, Some(1)).is_empty());
        assert_eq!(of(1000, 0, Some(1)).len(), 2);
        assert!(of(0, 0, None)[0].what.contains("container"));
        assert!(of(0, 1 << SYS_PTRACE, None)[0].what.contains("read, not mapped"));
    }
}
