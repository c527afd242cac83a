//! One line for each gate of each freeze in the system's log (syslog, journald).
//!
//! A datagram to `/dev/log`, after the thaw, never waited for: a log that is full,
//! gone or hung costs a line there and nothing else, for the verdict stands on stdout
//! and in the report all the same.

use crate::outcome::fault::Fault;
use crate::outcome::report::Record;
use crate::outcome::verdict::{Verdict, VerdictLine};
use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/dev/log";
/// For tests alone: another socket, or none if it is empty.
const SOCKET_OF_A_TEST: &str = "WRITEGATE_TEST_LOG_SOCKET";
/// The facility `daemon`.
const DAEMON: u8 = 3 << 3;

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

/// 6 info, 4 warning: no snapshot that is to be trusted, 3 error: one that is not.
fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Consistent => 6,
        Verdict::Busy | Verdict::NotQuiet | Verdict::NotDrained | Verdict::CrashConsistent => 4,
        Verdict::Interrupted
        | Verdict::Unproven
        | Verdict::Ungated
        | Verdict::Escaped
        | Verdict::Expired => 3,
    }
}

fn send(severity: u8, text: &str) {
    let path = std::env::var_os(SOCKET_OF_A_TEST).unwrap_or_else(|| OsString::from(SOCKET));
    if path.is_empty() {
        return;
    }
    let message = format!("<{}>writegate[{}]: {text}", DAEMON | severity, std::process::id());
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&path)?;
        socket.send(message.as_bytes())
    });
}
