//! A freeze without a command: the token is printed, and a keeper holds the gate until
//! `thaw` comes or the limit passes.

use super::args::{Args, Policy};
use crate::command::output::{is_lost, print, say, show};
use crate::freeze::caller;
use crate::freeze::keeper::{self, Started};
use crate::freeze::options::Options;
use crate::freeze::token::Token;
use crate::gatedir;
use crate::outcome::exit::OUTPUT;
use crate::outcome::fault::{Fault, Result, USAGE};
use std::io::IsTerminal;

/// Freezes and returns; the exit code.
pub fn freeze(args: &Args, options: Options) -> Result<u8> {
    if args.on_untrusted.is_some() || args.kill_late || args.policy != Policy::Abort {
        return Err(Fault::new(
            USAGE,
            "--on-untrusted, --kill-late and --policy need a command after `--`",
        ));
    }
    if args.telling.is_on_stdout() {
        return Err(Fault::new(
            USAGE,
            "--json, --report -: stdout is the token's; give them to `thaw`",
        ));
    }
    if std::io::stdout().is_terminal() {
        // Before anybody is held: a script reads the token, who types this may have forgotten the command.
        say(&format!(
            "no snapshot command behind `--`: writers will be held until `writegate thaw TOKEN`, or for \
             {:?} at most. In one step: writegate freeze -g {} -- COMMAND",
            args.limit,
            options.gates.join(" -g ")
        ));
    }
    let (started, caller) = caller::start(options)?;
    match &started {
        Started::Frozen { token, notes } => {
            // Nothing but the token on stdout: scripts take it from there. This is a
            // pipe or a terminal; a file on the frozen disk would hold nothing up but us.
            print(token);
            for note in notes {
                say(note);
            }
            if is_lost() {
                // Without its token no command can thaw: held writers must not wait for that.
                let token = Token::parse(token)?;
                let dir = gatedir::root().join(&token.gates[0]);
                let thawed = keeper::ask(&dir, &token).is_some();
                let now = if thawed { "the gate is open again" } else { "it opens at the limit" };
                return Err(Fault::new(OUTPUT, format!("the token could not be written: {now}")));
            }
        }
        Started::Not(record) => show(record, &args.telling),
        Started::Failed { code, message } => return Err(Fault::new(*code, message)),
    }
    caller.end(&started)
}
