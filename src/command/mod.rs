//! The subcommands, one file or folder each, and what several of them use.
//!
//! | module | duty |
//! |---|---|
//! | [`cli`] | the command line: definition, dispatch, exit code |
//! | [`freeze`], [`thaw`], [`status`], [`rehearse`], [`exec`], [`doctor`], [`setup`], [`hook`], [`man`], [`completions`] | the subcommand of that name |
//! | [`servers`] | the table of the mail servers that are known |
//! | [`arguments`] | values that several subcommands take |
//! | [`output`] | lines on stdout and stderr, a freeze's record, colours |
//! | [`unit_files`] | a systemd unit's files and settings |
//! | [`library`] | where the library lies, and whether it may be used |
//! | [`users`] | users by name and number |
//! | [`usage_tips`] | what a mistake on the command line most likely means |
//! | [`leave_gate`] | this command itself never runs gated |

mod arguments;
mod cli;
mod completions;
mod doctor;
mod exec;
mod freeze;
mod hook;
mod leave_gate;
mod library;
mod man;
mod output;
mod rehearse;
mod servers;
mod setup;
mod status;
mod thaw;
mod unit_files;
mod usage_tips;
mod users;

pub use cli::main;
