//! `writegate status --watch`: looks again and again, until Ctrl-C.
//!
//! On a terminal a live screen, redrawn in place and cut to its size; else lines with
//! the time, one for each gate and one for each process that is in flight or waits,
//! so that a log of them can be searched.

use super::gate_status::{GateStatus, all, no_gates};
use super::table;
use crate::command::output::Paint;
use crate::duration;
use crate::foreign_text::{acts, escape};
use crate::linux::signals::Signals;
use crate::linux::{clock, poll, terminal};
use crate::outcome::fault::{Fault, Result, USAGE};
use std::io::{IsTerminal, Write};
use std::time::Duration;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR: &str = "\x1b[2J";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// Looking costs the machine something: not more often than this.
const MOST_OFTEN: Duration = Duration::from_millis(100);

/// Runs it. Ctrl-C is its natural end: exit code 0.
pub fn run(gates: &[String], every: Duration) -> Result<u8> {
    if every < MOST_OFTEN {
        return Err(Fault::new(USAGE, "--watch: not more often than every 100ms"));
    }
    let signals = Signals::block().map_err(Fault::signals)?;
    // Nothing is held: a look may take its time, and the screen is given back.
    signals.in_hand();
    let screen = std::io::stdout().is_terminal();
    let mut out = std::io::stdout();
    let mut begin = if screen { [HIDE_CURSOR, CLEAR].concat() } else { String::new() };
    let signal = loop {
        let statuses = all(gates);
        let text = if screen { drawn(&statuses, every) } else { logged(&statuses) };
        // A reader that went away is an end like any other.
        if out.write_all((begin + &text).as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(0);
        }
        begin = String::new();
        if let Some(signal) = wait(&signals, duration::ns(every)) {
            break signal;
        }
    };
    if screen {
        let _ = out.write_all(format!("{SHOW_CURSOR}\n").as_bytes()).and_then(|()| out.flush());
    }
    Ok(if signal == libc::SIGINT { 0 } else { 128 + signal as u8 })
}

/// Waits for so long; the signal that ended it.
fn wait(signals: &Signals, ns: u64) -> Option<i32> {
    let until = clock::now_ns().saturating_add(ns);
    loop {
        if let Some(signal) = signals.received() {
            return Some(signal);
        }
        let left = until.saturating_sub(clock::now_ns());
        if left == 0 {
            return None;
        }
        poll::wait_readable(&[signals.fd()], left.div_ceil(1_000_000).min(10_000));
    }
}

/// One screen.
fn drawn(statuses: &[Result<GateStatus>], every: Duration) -> String {
    let mut lines = vec![format!("writegate status, {}, every {every:?}; Ctrl-C ends it", time())];
    if statuses.is_empty() {
        lines.push(no_gates());
    }
    for status in statuses {
        match status {
            Ok(status) => lines.extend(table::lines(status, Paint::for_stdout())),
            Err(fault) => lines.push(escape(&fault.message)),
        }
    }
    let (rows, columns) = terminal::window().unwrap_or((24, 80));
    // The last row stays free: a newline there would scroll.
    let room = rows.saturating_sub(1).max(2);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(format!("... {more} lines more: a larger window, or -g GATE"));
    }
    let shown = lines.iter().map(|line| format!("{}{CLEAR_LINE}\n", cut(line, columns)));
    format!("{HOME}{}{CLEAR_BELOW}", shown.collect::<String>())
}

/// The first so many columns of a line; colours take none.
fn cut(line: &str, columns: usize) -> String {
    let (mut shown, mut width, mut in_escape) = (String::new(), 0, false);
    for c in line.chars() {
        in_escape |= c == '\x1b';
        if in_escape {
            in_escape = c != 'm';
        } else if acts(c) {
            continue;
        } else if width < columns {
            width += 1;
        } else {
            continue;
        }
        shown.push(c);
    }
    shown
}

/// One look as lines.
fn logged(statuses: &[Result<GateStatus>]) -> String {
    let now = time();
    let mut text = String::new();
    let mut line = |what: &str| text.extend([now.as_str(), " ", what, "\n"]);
    if statuses.is_empty() {
        line(&no_gates());
    }
    for status in statuses {
        let status = match status {
            Ok(status) => status,
            Err(fault) => {
                line(&escape(&fault.message));
                continue;
            }
        };
        line(&table::head(status, Paint::for_stdout()));
        for process in &status.processes {
            for doing in &process.details {
                line(&format!(
                    "gate {}: pid {} ({}) {}: {}",
                    status.gate,
                    process.pid,
                    process.program,
                    doing.state,
                    table::detail(doing)
                ));
            }
        }
    }
    text
}

/// The time of day, UTC, to the second.
fn time() -> String {
    let seconds = clock::wall_ns() / 1_000_000_000;
    let (days, of_day) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days to a date: years begin in March, so that the odd day is the last one.
    let from_0000_03_01 = days + 719_468;
    let era = from_0000_03_01.div_euclid(146_097);
    let day = from_0000_03_01.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("a\x1b[31mbcd\x1b[0me", 3), "a\x1b[31mbc\x1b[0m");
        assert_eq!(cut("a\tb\nc", 80), "abc", "a name that another user chose draws nothing");
    }
}
