//! One line for each gate of each freeze in the system's log (syslog, journald).
//!
//! A datagram to `/dev/log`, after the thaw, never waited for: a log that is full,
//! gone or hung costs a line there and nothing else, for the verdict stands on stdout
//! and in the report all the same.

use crate::foreign_text::escape;
use crate::outcome::fault::Fault;
use crate::outcome::record::{Record, VerdictLine};
use crate::outcome::verdict::{Severity, Verdict};
use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/dev/log";
/// For tests alone: another socket, or none if it is empty.
const SOCKET_OF_A_TEST: &str = "WRITEGATE_TEST_LOG_SOCKET";
/// The facility.
const FACILITY: i32 = libc::LOG_DAEMON;

/// Says what became of a freeze.
pub fn freeze(record: &Record) {
    for gate in &record.gates {
        line(&gate.line, record.exit);
    }
}

/// Says what became of one gate.
pub fn line(line: &VerdictLine, exit: u8) {
    let text = line.to_string();
    let text = text.strip_prefix("writegate: ").unwrap_or(&text);
    send(severity(line.verdict), &format!("{text} exit={exit}"));
}

/// Says that there was no freeze at all, and why.
pub fn refused(gates: &str, fault: &Fault) {
    let text = format!("gate={gates} verdict=NONE exit={}: {}", fault.code, fault.message);
    send(severity(Verdict::Unproven), &text);
}

fn severity(verdict: Verdict) -> i32 {
    match verdict.severity() {
        Severity::Info => libc::LOG_INFO,
        Severity::Warning => libc::LOG_WARNING,
        Severity::Error => libc::LOG_ERR,
    }
}

fn send(severity: i32, text: &str) {
    let path = std::env::var_os(SOCKET_OF_A_TEST).unwrap_or_else(|| OsString::from(SOCKET));
    if path.is_empty() {
        return;
    }
    let (head, us) = (FACILITY | severity, std::process::id());
    let message = format!("<{head}>writegate[{us}]: {}", escape(text));
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&path)?;
        socket.send(message.as_bytes())
    });
}
