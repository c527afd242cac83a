//! A gate as lines that a person reads.

use super::State;
use crate::census::blockers::Blocker;
use std::io::IsTerminal;

/// Colours, or none.
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// On a terminal, unless NO_COLOR says otherwise.
    pub fn for_stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Paint(wanted && std::io::stdout().is_terminal())
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    /// By what a barrier or a process does.
    fn state(self, state: &str, padded: &str) -> String {
        match state.trim() {
            "closed" | "held" => self.with("31", padded),
            "in-flight" | "lease-over" | "waits-for-lock" => self.with("33", padded),
            _ => padded.into(),
        }
    }
}

/// The gate in one line.
pub fn head(state: &State, paint: Paint) -> String {
    let left = state.left_ms.map(|ms| format!(", {ms:.0} ms left")).unwrap_or_default();
    let freezer = if state.freezer == Some(true) { ", a freezer holds it" } else { "" };
    format!(
        "gate {}: {}{left}{freezer}; {} freezes, {} processes, {} in flight, {} held",
        state.gate,
        paint.state(state.barrier, state.barrier),
        state.freezes,
        state.processes.len(),
        state.count("in-flight"),
        state.count("held"),
    )
}

/// All of it: the gate, its processes, who does not hear it.
pub fn lines(state: &State, paint: Paint) -> Vec<String> {
    let mut lines = vec![head(state, paint)];
    if !state.processes.is_empty() {
        lines.push(format!(
            "  {:>8} {:<16} {:>6} {:<15} {:>5} {:>5}  DETAILS",
            "PID", "PROGRAM", "USER", "STATE", "THRDS", "LOCKS"
        ));
    }
    for p in &state.processes {
        let uid = p.uid.map_or("?".into(), |uid| uid.to_string());
        let details: Vec<String> = p.details.iter().map(detail).collect();
        lines.push(format!(
            "  {:>8} {:<16} {uid:>6} {} {:>5} {:>5}  {}",
            p.pid,
            p.program,
            paint.state(&p.state, &format!("{:<15}", p.state)),
            p.threads,
            p.locks,
            details.join("; ")
        ));
    }
    for detached in &state.old_page {
        lines.push(format!(
            "  pid {} ({}) maps a control page that was replaced: restart it",
            detached.pid, detached.program
        ));
    }
    for other in &state.other_layout {
        lines.push(format!(
            "  pid {} ({}) runs another version's library ({}; this gate has layout {}): \
             restart it",
            other.pid, other.program, other.layout, state.layout
        ));
    }
    for ungated in &state.ungated {
        lines.push(format!(
            "  pid {} ({}) belongs to the service and is not gated: `writegate doctor` says why",
            ungated.pid, ungated.program
        ));
    }
    if state.unseen > 0 {
        lines.push(format!("  {} processes could not be looked into", state.unseen));
    }
    lines
}

/// What a process does, without its name.
pub fn detail(blocker: &Blocker) -> String {
    let mut text = blocker.call.clone().unwrap_or_default();
    for part in [blocker.path.as_deref(), Some(blocker.why.as_str())].into_iter().flatten() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(part);
    }
    if let Some(age) = blocker.age_ms {
        text += &format!(" ({age:.0} ms)");
    }
    text
}
