//! What is told of a cause, in words. Nothing is decided by them.

use super::{Cause, Claim, Passage, Subject};
use gate::layout::LAYOUT;

impl Cause {
    /// In words.
    pub fn sentence(&self) -> String {
        let plain = match self {
            Cause::Passed(passage) => {
                return format!("a call passed the closed barrier: {}", passage.words());
            }
            Cause::OtherDirectory(dir) => {
                return format!(
                    "{dir}: other files stood there while the gate was closed: something was mounted, unmounted or \
                     renamed"
                );
            }
            Cause::NotAtRest(why) => return why.sentence(),
            Cause::LockedUngated(file) => {
                return format!(
                    "belongs to the service, is not gated, and holds a write lock (file {file}): \
                     what it changes under it may be half-done"
                );
            }
            Cause::OtherLayout(layout) => {
                return format!(
                    "runs another version's library ({}; this gate has layout {LAYOUT:08x}), \
                     which does not hear this gate: restart it",
                    layout.name()
                );
            }
            Cause::SyncFailed(why) => {
                return format!("--sync failed, the snapshot may lack data: {why}");
            }
            Cause::OnlyMountWatched(dir, why) => {
                return format!(
                    "{dir}: only writes through this mount are seen, not names ({why})"
                );
            }
            Cause::NotWatched(dir, why) => {
                return format!("{dir}: changes cannot be watched for ({why})");
            }
            Cause::OthersUnseen(dir, kind) => {
                return format!(
                    "{dir}: lies on {kind}, which other machines or programs can change unseen"
                );
            }
            Cause::Exported(dir, by) => {
                return format!(
                    "{dir}: its file system is exported by {by}: what other machines write is not held"
                );
            }
            Cause::ChangedWithoutPath(pid, why) => {
                return format!(
                    "pid {pid} changed a file, and where that lies cannot be told ({why})"
                );
            }
            Cause::Hidden(hidden) => return hidden.to_string(),
            Cause::NotSeen(subject, why) => {
                return format!("{} cannot be looked at ({why})", subject.words());
            }
            Cause::MoreChanges(count) => {
                return format!("{count} further changes of protected files were seen");
            }
            Cause::HeldWithLocks(count) => {
                return format!("was held while it owned {count} locks");
            }
            Cause::MoreOutside(count) => {
                return format!("{count} more map the control page from outside of the service");
            }
            Cause::NoDirectory(dir, why) => {
                return format!("{dir}: is named as protected and cannot be looked at ({why})");
            }
            Cause::OutsideNotSeen(subject, why) => {
                return format!(
                    "{} cannot be looked at ({why}); it does not belong to the service",
                    subject.words()
                );
            }
            Cause::Outside => {
                "maps the control page and does not belong to the service: not waited for"
            }
            Cause::OtherGate(claim) => {
                return format!(
                    "{}, but by another gate: freeze both, or name the directories of this one",
                    claim.words()
                );
            }
            Cause::Detached => {
                "has the library and asks for this gate, and does not map its page: detached \
                 (`writegate doctor` says why)"
            }
            Cause::Ungated(claim) => claim.words(),
            Cause::Changed => "changed a protected file while the gate was closed",
            Cause::OpenForWriting => "is not gated and has a protected file open for writing",
            Cause::OldPage => {
                "maps a control page of this gate that was replaced: detached until restarted"
            }
            Cause::PageReplaced => {
                "the gate's control page was replaced during the freeze: a process that was \
                 started since does not hear this one"
            }
            Cause::MapsShared => {
                "has mapped a protected file shared and writable: stores cannot be held"
            }
            Cause::MappedForWriting => {
                "is not gated and has mapped a protected file shared and writable"
            }
            Cause::Aio => "has used aio, whose helper threads write past the gate",
            Cause::IoUring => "has set up an io_uring, which writes past the gate",
            Cause::SecondLibc => {
                "has a second C library loaded (dlmopen), whose calls the gate does not see"
            }
            Cause::NamedToHold => {
                "is to be held at rest by its program (`hold`, --hold-program), and was not for all of the time"
            }
            Cause::LocksOverflowed => "may hold locks that its region does not show",
            Cause::NotHeld => {
                "waits for no barrier: its clock is not this machine's (a time namespace), or a \
                 system call filter leaves it neither a clock nor a sleep"
            }
            Cause::NobodysLock => {
                "a lock that guards writing is held, and by which process cannot be seen"
            }
            Cause::NotOfUsers => "maps the control page and is of none of --users: not waited for",
            Cause::NoDirectories => {
                "no protected directory is named (--paths, the profile's `path`, WRITEGATE_PATHS): \
                 changes past the gate cannot be watched for"
            }
            Cause::TooManyChanges => "too many changes to look at",
            Cause::QueueOverflowed => "the kernel's queue of changes overflowed",
            Cause::Dotlock => "its lock file lies in the snapshot; a restore deletes it",
            Cause::DiedInSection => {
                "died inside a section: what it left is for the server's own recovery"
            }
        };
        plain.into()
    }
}

impl Subject {
    fn words(self) -> &'static str {
        match self {
            Subject::Listing => "the processes of this machine",
            Subject::Process => "its mappings",
            Subject::Directories => "which directories it protects (WRITEGATE_PATHS)",
            Subject::OtherNames => "whether a file that was changed elsewhere has a protected name",
            Subject::AllLocks => "the kernel's list of locks",
            Subject::Descriptors => "its open files",
            Subject::Watch => "what the kernel tells of changes",
        }
    }
}

impl Passage {
    fn words(self) -> &'static str {
        match self {
            Passage::Overdue => "it had waited as long as it may",
            Passage::Over => "one that is over",
            Passage::Call(call) => gate::calls::name(call),
            Passage::Unknown => "by which process cannot be told",
        }
    }
}

impl Claim {
    fn words(self) -> &'static str {
        match self {
            Claim::Child => "was started by a gated process and is not gated itself",
            Claim::Unit => "runs in the same unit and is not gated",
            Claim::Program => "runs the same program and is not gated: not restarted since?",
        }
    }
}
