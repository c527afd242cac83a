//! The command `writegate`.
//!
//! Imports point downwards, and `unsafe` lies at the bottom alone:
//!
//! | folder | duty |
//! |---|---|
//! | [`command`] | one file a subcommand |
//! | [`freeze`] | one whole freeze: from its options to its record |
//! | [`evidence`] | what speaks for or against the snapshot beside the drain |
//! | [`drive`] | carries out what the gate's state machines ask for |
//! | [`places`] | which directories a gate protects, found out and published |
//! | [`census`] | the gated processes, their regions, and those that came since |
//! | [`hold`] | processes that no preload reaches, held at rest by a tracer |
//! | [`gatedir`] | a gate's directory: control page, lock, profile, statistics |
//! | [`outcome`] | exit codes, verdicts, faults, findings, the record and the log line |
//! | [`duration`] | durations with a unit |
//! | [`foreign_text`] | text that others chose, made fit to be shown |
//! | [`linux`] | what is asked of the kernel |

#![deny(unsafe_code)]

#[forbid(unsafe_code)]
mod census;
#[forbid(unsafe_code)]
mod command;
#[forbid(unsafe_code)]
mod drive;
#[forbid(unsafe_code)]
mod duration;
#[forbid(unsafe_code)]
mod evidence;
mod foreign_text;
#[forbid(unsafe_code)]
mod freeze;
#[forbid(unsafe_code)]
mod gatedir;
#[forbid(unsafe_code)]
mod hold;
mod linux;
#[forbid(unsafe_code)]
mod outcome;
#[forbid(unsafe_code)]
mod places;

fn main() -> std::process::ExitCode {
    command::main()
}
