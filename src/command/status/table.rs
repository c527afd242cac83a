//! A gate as lines that a person reads.

use super::gate_status::GateStatus;
use crate::command::output::Paint;
use crate::command::users;
use crate::duration;
use crate::linux::clock;
use crate::outcome::blocker::Blocker;
use std::time::Duration;

/// So many processes are shown that map the page from outside.
const OUTSIDERS: usize = 20;

/// By what a barrier or a process does.
fn painted(paint: Paint, state: &str, padded: &str) -> String {
    match state {
        "closed" | "held" => paint.red(padded),
        "in-flight" | "lease-over" | "waits-for-lock" => paint.yellow(padded),
        _ => padded.into(),
    }
}

/// The gate in one line.
pub fn head(status: &GateStatus, paint: Paint) -> String {
    let left = status.left_ms.map(|ms| format!(", {ms:.0} ms left")).unwrap_or_default();
    let freezer = if status.freezer == Some(true) { ", a freezer holds it" } else { "" };
    format!(
        "gate {}: {}{left}{freezer}; {} freezes, {} processes, {} in flight, {} held",
        status.gate,
        painted(paint, status.barrier, status.barrier),
        status.freezes,
        status.processes.len(),
        status.count("in-flight"),
        status.count("held"),
    )
}

/// When the last good one was.
fn past(status: &GateStatus) -> String {
    let now = clock::wall_ns() / 1_000_000_000;
    let ago = |at: u64| duration::rough(Duration::from_secs(now.saturating_sub(at)));
    match (status.last_consistent, status.last_freeze) {
        (Some(good), Some(last)) if good == last => {
            format!("  last CONSISTENT freeze: {} ago", ago(good))
        }
        (Some(good), last) => format!(
            "  last CONSISTENT freeze: {} ago; the last freeze, {} ago, was not",
            ago(good),
            ago(last.unwrap_or(good))
        ),
        (None, Some(last)) => {
            format!("  no CONSISTENT freeze is known; the last freeze, {} ago, was not", ago(last))
        }
        (None, None) => "  no freeze of it is known".into(),
    }
}

/// All of it: the gate, its processes, and those that do not hear it.
pub fn lines(status: &GateStatus, paint: Paint) -> Vec<String> {
    let mut lines = vec![head(status, paint), past(status)];
    if !status.processes.is_empty() {
        lines.push(format!(
            "  {:>8} {:<16} {:<10} {:<15} {:>5} {:>5}  DETAILS",
            "PID", "PROGRAM", "USER", "STATE", "THRDS", "LOCKS"
        ));
    }
    let users = users::names();
    for p in &status.processes {
        let user = p
            .uid
            .map_or("?".into(), |uid| users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()));
        let details: Vec<String> = p.details.iter().map(detail).collect();
        lines.push(format!(
            "  {:>8} {:<16} {user:<10} {} {:>5} {:>5}  {}",
            p.pid,
            p.program,
            painted(paint, &p.state, &format!("{:<15}", p.state)),
            p.threads,
            p.locks,
            details.join("; ")
        ));
    }
    for finding in &status.against {
        lines.push(format!("  {finding}"));
    }
    for outsider in status.outsiders.iter().take(OUTSIDERS) {
        lines.push(format!(
            "  pid {} ({}) maps the page and does not belong to the service: not waited for",
            outsider.pid, outsider.program
        ));
    }
    if status.outsiders.len() > OUTSIDERS {
        let more = status.outsiders.len() - OUTSIDERS;
        lines.push(format!("  {more} more map the page from outside of the service"));
    }
    lines
}

/// What a process does, without its name.
pub fn detail(blocker: &Blocker) -> String {
    let mut text = blocker.call.clone().unwrap_or_default();
    let path = blocker.path.as_ref().map(ToString::to_string);
    for part in [path.as_deref(), Some(blocker.why.as_str())].into_iter().flatten() {
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
