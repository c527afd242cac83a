//! Who was held at rest by the tracer, who could not be, and the sentences that say why: one table.

use crate::foreign_text::ForeignText;
use crate::linux::look::WhyNot;
use serde::{Deserialize, Serialize};

/// One process that was held.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct HeldProcess {
    /// Process.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
    /// Its threads.
    pub threads: u32,
    /// How often it was let run again, because it held a lock or another waited for it.
    pub let_go: u32,
    /// For how long in all, ms.
    pub let_go_ms: f64,
    /// Waits that the stop has ended with EINTR.
    pub interrupted: u32,
    /// Transfers that the stop has cut short: less was sent or written than was asked for.
    pub short: u32,
    /// Why the gate does not hold it: the names of the findings. Empty without a gate, and of one that
    /// is held because another made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// Why a process could not be held.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// Another process traces it: which.
    Traced(i32),
    /// The kernel does not allow it.
    NotAllowed,
    /// A thread of it did not stop: which, its state, its system call.
    NotStopped(i32, char, Option<i64>),
    /// It was never seen without a lock that guards writing: on which file.
    UnderLock(ForeignText),
    /// As before, and job control has stopped it: it cannot give the lock up.
    StoppedUnderLock(ForeignText),
    /// A lock that is only a file was there whenever all were at rest: which.
    Dotlock(ForeignText),
    /// Whether a lock that is only a file was there could not be looked at, where this process sees the
    /// files.
    LockFilesNotSeen(WhyNot),
    /// By the profile its sets last until it waits, and it was at work whenever it was stopped.
    AtWork,
    /// By the profile its sets last until it ends, and it has done something and has not ended.
    NotEnded,
    /// By the profile it is stopped where it waits, after those that are held first, and it never did.
    NeverWaited,
    /// By the profile it is held before the others, and it was let run again since they were.
    RanAgain,
    /// Its descriptors could not be looked at.
    LocksNotSeen,
    /// It came when the others were at rest, and was not held.
    CameLate,
    /// It was to be held, is there, and is not among those that came to rest.
    LeftOut,
    /// No process in particular: when all were let go they could not be listed any more.
    NotListed,
}

impl Obstacle {
    /// In words, with the cure.
    pub fn sentence(&self) -> String {
        match self {
            Obstacle::Traced(by) => format!(
                "cannot be held: process {by} traces it (strace, a debugger, a sandbox?); end that, or \
                 gate it"
            ),
            Obstacle::NotAllowed => "cannot be held: the kernel does not allow it. Run writegate as root \
                 on the host, with CAP_SYS_PTRACE (in a container: --cap-add SYS_PTRACE, and a seccomp \
                 profile that allows ptrace); kernel.yama.ptrace_scope = 3 refuses root too"
                .into(),
            Obstacle::NotStopped(tid, 'D', call) => format!(
                "cannot be held: its thread {tid} waits in the kernel{}, at a disk that does not answer?",
                in_call(*call)
            ),
            Obstacle::NotStopped(tid, state, call) => format!(
                "cannot be held: its thread {tid} (state {state}) did not stop in time{}",
                in_call(*call)
            ),
            Obstacle::UnderLock(_) => "was never seen without a lock that guards writing. If it holds \
                 that lock for life, name it in a `lifetime-lock` line (--lifetime-lock)"
                .into(),
            Obstacle::StoppedUnderLock(_) => "holds a lock that guards writing and is stopped by a signal \
                 (SIGSTOP, job control): continue it, or end it"
                .into(),
            Obstacle::Dotlock(_) => "this lock file was there whenever all were at rest: is it left \
                 over? Its owner is who stands in it, or not known"
                .into(),
            Obstacle::LockFilesNotSeen(why) => format!(
                "whether a file of the `lock-file` lines is there, as it sees the files, could not be \
                 looked at ({why})"
            ),
            Obstacle::AtWork => "was at work whenever it was stopped; by the profile (`until-wait`) its \
                 sets last until it waits"
                .into(),
            Obstacle::NotEnded => "has done something, and by the profile (`until-exit`) its sets last \
                 until it ends; it has not"
                .into(),
            Obstacle::NeverWaited => "was at work as long as it was waited for; by the profile \
                 (`first-wait = rest`) it is stopped where it waits, after those that are held first"
                .into(),
            Obstacle::RanAgain => "is held before the others by the profile (`first`), and ran again: one of \
                 them waited for it. What came of that could not be waited for (`first-wait = rest`) in time"
                .into(),
            Obstacle::LocksNotSeen => "its locks could not be looked at".into(),
            Obstacle::CameLate => "was started while the others were held, and was not held itself".into(),
            Obstacle::LeftOut => "was to be held and was not: it could not be found among those that \
                 came to rest"
                .into(),
            Obstacle::NotListed => "the processes could not be listed when those that were held were let \
                 go: one that came meanwhile would not be known"
                .into(),
        }
    }

    /// The file that it is about.
    pub fn file(&self) -> Option<&ForeignText> {
        match self {
            Obstacle::UnderLock(file)
            | Obstacle::StoppedUnderLock(file)
            | Obstacle::Dotlock(file) => Some(file),
            _ => None,
        }
    }

    /// Does nothing hold it at all?
    pub fn is_free(&self) -> bool {
        matches!(
            self,
            Obstacle::Traced(_)
                | Obstacle::NotAllowed
                | Obstacle::CameLate
                | Obstacle::LeftOut
                | Obstacle::NotListed
        )
    }
}

fn in_call(call: Option<i64>) -> String {
    call.map_or(String::new(), |number| format!(" (system call {number})"))
}

/// A process that could not be held.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NotHeld {
    /// Process; 0: none in particular.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
    /// Why.
    pub why: Obstacle,
}
