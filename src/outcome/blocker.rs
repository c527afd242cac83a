//! A process that keeps a gate from draining, or waits, as messages and records show it.

use crate::foreign_text::ForeignText;
use serde::{Deserialize, Serialize};

/// What a blocker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockerState {
    /// It keeps the gate from draining.
    InFlight,
    /// It was let past the barrier, and has not done yet what it was let in for.
    Admitted,
    /// It was gone when the drain was given up.
    Ended,
    /// It waits at the barrier.
    Held,
    /// It waits for a lock.
    WaitsForLock,
}

impl BlockerState {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            BlockerState::InFlight => "in-flight",
            BlockerState::Admitted => "admitted",
            BlockerState::Ended => "ended",
            BlockerState::Held => "held",
            BlockerState::WaitsForLock => "waits-for-lock",
        }
    }
}

impl std::fmt::Display for BlockerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One process that is in flight, or waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blocker {
    /// Process.
    pub pid: i32,
    /// Its program, as the kernel names it.
    pub program: ForeignText,
    /// Effective user.
    pub uid: Option<u32>,
    /// What it does.
    pub state: BlockerState,
    /// The call it is in, if it is in one.
    pub call: Option<String>,
    /// The file of that call, or the lock that keeps its section open.
    pub path: Option<ForeignText>,
    /// Why it counts.
    pub why: String,
    /// How long, ms.
    pub age_ms: Option<f64>,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.program)?;
        if let Some(call) = &self.call {
            write!(f, " in {call}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " {path}")?;
        }
        write!(f, ": {}", self.why)?;
        if let Some(age) = self.age_ms {
            write!(f, ", for {age:.0} ms")?;
        }
        Ok(())
    }
}
