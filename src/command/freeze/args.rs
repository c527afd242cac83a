//! The arguments of `writegate freeze`.

use crate::command::arguments;
use crate::command::output::Telling;
use crate::duration;
use crate::evidence::wanted::{Accept, Require};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Raise the barrier, drain, run a snapshot command, thaw, and give a verdict
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate freeze -g mail -- lvcreate --snapshot -n snap vg/mail
  writegate freeze -g mail --wait-quiet 30s -- lvcreate --snapshot -n snap vg/mail

In two steps, in a script, where each exit code counts:
  TOKEN=$(writegate freeze -g mail) || exit
  take-snapshot; TAKEN=$?
  writegate thaw \"$TOKEN\" && exit $TAKEN

Four limits, each with its own failure: --queue (another freeze has the gate: BUSY, 75), --wait-quiet \
(no quiet moment: goes on and says so; with --require quiet NOT_QUIET, 75), --drain (something stays \
in flight: NOT_DRAINED, 75), --limit (from raising the barrier to the thaw: EXPIRED, 124). Writers \
wait during the last two only.

The snapshot command gets WRITEGATE_GATE, WRITEGATE_TOKEN and WRITEGATE_DEADLINE. Bracket the \
snapshot, never the copy that follows it.")]
pub struct Args {
    /// Gate to freeze; several are frozen all or none
    #[arg(short, long = "gate", value_name = "GATE")]
    pub(super) gate: Vec<String>,
    /// No gate: stop all processes of this systemd unit at rest, where they hold no lock that guards
    /// writing
    #[arg(long, value_name = "UNIT", conflicts_with_all = ["gate", "cgroup", "pid"])]
    pub(super) unit: Option<String>,
    /// The same, of this control group and those below
    #[arg(long, value_name = "PATH", conflicts_with_all = ["gate", "pid"])]
    pub(super) cgroup: Option<PathBuf>,
    /// The same, of this process and all that descend from it; may be given several times
    #[arg(long, value_name = "PID", value_parser = arguments::whole_number::<i32>, conflicts_with = "gate")]
    pub(super) pid: Vec<i32>,
    /// With --unit, --cgroup, --pid: a profile whose `lifetime-lock`, `lock-file`, `path` and `exclude` lines
    /// count (a file, or a name in /etc/writegate)
    #[arg(long, value_name = "FILE", conflicts_with = "gate")]
    pub(super) profile: Option<PathBuf>,
    /// The same for one pattern: a lock on such a file is held for life and is no set of writes
    #[arg(long, value_name = "PATTERN", conflicts_with = "gate")]
    pub(super) lifetime_lock: Vec<String>,
    /// The same: while such a lock file is there, nothing is at rest
    #[arg(long, value_name = "PATTERN", conflicts_with = "gate")]
    pub(super) lock_file: Vec<String>,
    /// No writer waits longer than this, whatever happens
    #[arg(short = 't', long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub(super) limit: Duration,
    /// How long one attempt may wait for what is in flight
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    pub(super) drain: Duration,
    /// Further attempts when the gate did not drain
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = arguments::whole_number::<u32>)]
    pub(super) retries: u32,
    /// How long to wait for another freeze of the same gate: its end is BUSY, exit code 75
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    pub(super) queue: Duration,
    /// Wait at most this long for a quiet moment (no section open, at most 2 calls in flight, twice
    /// in a row) before any writer is held; then go on all the same, unless --require quiet
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(super) wait_quiet: Option<Duration>,
    /// Protected directories, as the service's WRITEGATE_PATHS names them
    #[arg(long, value_name = "DIR:DIR")]
    pub(super) paths: Option<String>,
    /// Wait only for processes of these users and root (default: for those that belong to the service, by
    /// their master, unit or system account)
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    pub(super) users: Vec<String>,
    /// Also stop at rest, for the snapshot, whom the gate cannot hold and who can write protected files:
    /// not gated, shared mappings, aio, io_uring (docs/admin/hold.md; in the profile: hold = ungated)
    #[arg(long, conflicts_with_all = ["unit", "cgroup", "pid"])]
    pub(super) hold_ungated: bool,
    /// The same, and gated processes of this program, which writes past libc where nobody can see it:
    /// inline system calls. As often as needed (in the profile: hold = PATH)
    #[arg(long, value_name = "PATH", value_parser = arguments::program, conflicts_with_all = ["unit", "cgroup", "pid"])]
    pub(super) hold_program: Vec<String>,
    /// Flush the protected file systems first (for tools that do not do so themselves)
    #[arg(long)]
    pub(super) sync: bool,
    /// Tell the command to stop (SIGTERM) when the limit passes
    #[arg(long)]
    pub(super) kill_late: bool,
    /// Run this (by sh) when the command succeeded and its snapshot cannot be trusted; not when the
    /// command failed: what lies there then is an earlier snapshot
    #[arg(long, value_name = "COMMAND")]
    pub(super) on_untrusted: Option<String>,
    /// What to do when the gate does not drain
    #[arg(long, value_enum, default_value_t = Policy::Abort)]
    pub(super) policy: Policy,
    /// Fail unless this could be checked (quiet: unless it became quiet within --wait-quiet)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) require: Vec<Require>,
    /// Exit 0 also where this is known against the snapshot (partial: a gap in the coverage, which is
    /// named); for a gap that you know of and can live with
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) accept: Vec<Accept>,
    #[command(flatten)]
    pub(super) telling: Telling,
    /// The snapshot command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// What to do when the gate does not drain.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// Do not run the command
    Abort,
    /// Run it without the gate; the verdict says so
    CrashConsistent,
}
