//! The command `writegate`.
//!
//! Imports point downwards:
//!
//! | folder | duty |
//! |---|---|
//! | [`command`] | one file a subcommand |
//! | [`freeze`] | one whole freeze: from its options to its record |
//! | [`drive`] | carries out what the gate's state machines ask for |
//! | [`evidence`] | what speaks for or against the snapshot beside the drain |
//! | [`census`] | the gated processes, their regions, and who came since |
//! | [`gatedir`] | a gate's directory: control page, lock, profile, statistics |
//! | [`outcome`] | faults, findings, verdicts, the record and the log line |
//! | [`linux`] | what is asked of the kernel |
//! | [`duration`] | durations with a unit |

mod census;
mod command;
mod drive;
mod duration;
mod evidence;
mod freeze;
mod gatedir;
mod linux;
mod outcome;

fn main() -> std::process::ExitCode {
    command::main()
}
