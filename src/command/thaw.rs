//! `writegate thaw TOKEN`: opens what `freeze` closed, and gives the verdict.
//!
//! Needs no configuration: the token names the gate, and it must work after the
//! configuration is gone. It may come twice, late, or never.

use super::output::{Telling, say, say_verdict, show};
use crate::drive::barrier;
use crate::freeze::token::Token;
use crate::freeze::{keeper, last};
use crate::gatedir::{self, Gate};
use crate::linux::clock;
use crate::outcome::fault::{Fault, PERMISSION, Result, TOKEN};
use crate::outcome::record::VerdictLine;
use crate::outcome::syslog;
use crate::outcome::verdict::Verdict;
use std::sync::atomic::Ordering::Acquire;

/// Open the gate that this token closed, and give the verdict
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 consistent; 76 the token is stale, foreign, or its keeper \
                        was killed; 124 the limit passed before.")]
pub struct Args {
    /// What `writegate freeze` printed
    token: String,
    #[command(flatten)]
    telling: Telling,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    let token = Token::parse(&args.token)?;
    let dir = gatedir::root().join(&token.gates[0]);
    if std::fs::metadata(&dir).is_ok() && std::fs::read_dir(&dir).is_err() {
        return Err(Fault::new(PERMISSION, format!("{} may not be read by you", dir.display())));
    }
    if let Some(record) = keeper::ask(&dir, &token) {
        show(&record, &args.telling);
        return Ok(record.exit);
    }
    // The keeper opens at the deadline by itself and leaves word.
    for _ in 0..50 {
        // Asked before its word is read: it leaves that before the socket goes.
        let keeper_there = std::fs::exists(keeper::socket_path(&dir)).unwrap_or(false);
        if let Some(mut left) = last::read(&dir, &token) {
            if left.told {
                return Err(Fault::new(
                    TOKEN,
                    format!(
                        "this token was used before: the gate was thawed then, verdict {}",
                        left.record.verdict.name()
                    ),
                ));
            }
            left.told = true;
            last::write(&dir, &left);
            say("the thaw came late: the gate had opened by itself");
            show(&left.record, &args.telling);
            return Ok(left.record.exit);
        }
        if !keeper_there {
            break;
        }
        if !std::fs::exists(last::path(&dir)).unwrap_or(false)
            && std::os::unix::net::UnixStream::connect(keeper::socket_path(&dir)).is_err()
        {
            break;
        }
        clock::sleep_ns(10_000_000);
    }
    without_keeper(&token)
}

/// No keeper and no word of it: stale, foreign, or its keeper was killed.
fn without_keeper(token: &Token) -> Result<u8> {
    let mut killed = false;
    for (name, deadline) in token.gates.iter().zip(&token.deadlines) {
        let Ok(mut gate) = Gate::open(name) else { continue };
        if gate.page.get().barrier.load(Acquire) != *deadline {
            continue;
        }
        // The barrier of this very token, and no process keeps it.
        if gate.lock(200_000_000, || false).is_err() {
            continue;
        }
        let page = gate.page.get();
        if page.barrier.load(Acquire) == *deadline {
            killed = true;
            let closed = page.closed_at.load(Acquire);
            let opened = barrier::lower(page);
            let verdict = if opened >= *deadline { Verdict::Expired } else { Verdict::Unproven };
            let line = VerdictLine {
                generation: page.freezes.load(Acquire),
                held_ns: opened.saturating_sub(closed),
                ..VerdictLine::unmeasured(name.clone(), verdict)
            };
            say_verdict(&line);
            syslog::line(&line, verdict.code());
            if verdict == Verdict::Expired {
                say("the keeper was killed, and the limit has passed: writers went on");
                return Ok(verdict.code());
            }
        }
    }
    if killed {
        return Err(Fault::new(
            TOKEN,
            "the keeper of this freeze was killed: the gate is open again, but what was seen \
             meanwhile is lost; do not trust the snapshot",
        ));
    }
    Err(Fault::new(
        TOKEN,
        format!(
            "no freeze with this token: it is older than the last one of gate {}, from another \
             host or boot, or its keeper was killed. Nothing is held by it; do not trust a \
             snapshot that relied on it",
            token.gates.join(",")
        ),
    ))
}
