//! What a hooked call changes, and by which of its arguments that is known.

/// The current directory, where a rule wants a directory's argument.
pub const CWD: u8 = 255;

/// Which argument (from 0) says what a call changes, and what must be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Changes the file of this descriptor.
    Fd(u8),
    /// Changes owner, mode, times or attributes of this descriptor's file.
    Attributes(u8),
    /// Sends on this descriptor: a change only where a profile says `hand-over`.
    Send(u8),
    /// Syncs the file of this descriptor: held, but begins no section.
    Sync(u8),
    /// Changes something at (directory descriptor, path).
    Path(u8, u8),
    /// Changes something at two places.
    Paths(u8, u8, u8, u8),
    /// Makes something at (directory descriptor, path), which a profile may call a lock.
    Make(u8, u8),
    /// Makes the second name; may take a dotlock.
    Link(u8, u8, u8, u8),
    /// Removes a name; may end a dotlock.
    Unlink(u8, u8),
    /// (directory, path, flags): a change only if the flags create or truncate.
    Open(u8, u8, u8),
    /// openat2: the flags lie in a structure.
    OpenHow,
    /// open_by_handle_at: truncates or nothing.
    OpenHandle,
    /// (path, mode) as fopen takes them.
    OpenMode(u8, u8),
    /// freopen: flush, close, open.
    Freopen,
    /// tmpfile.
    TempDir,
    /// bind to the path of a unix socket.
    Bind,
    /// By request number.
    Ioctl,
    /// Only MADV_REMOVE.
    Madvise,
    /// Output to this stream.
    Stream(u8),
    /// Flushes this stream, or all if it is null.
    Flush(u8),
    /// Output to stdout.
    Stdout,
    /// Output to stderr.
    Stderr,
    /// Output to stderr, arguments on the stack: nothing may be put between.
    StderrList,
    /// Flushes every stream.
    AllStreams,
    /// Flushes every stream and does not return.
    Last,
    /// Flushes and closes this stream.
    StreamClose(u8),
    /// fcntl: locks, duplicates.
    Fcntl,
    /// flock.
    Flock,
    /// lockf.
    Lockf,
    /// Closes this descriptor.
    Close(u8),
    /// closefrom.
    CloseFrom,
    /// close_range.
    CloseRange,
    /// closedir.
    CloseDir,
    /// dup.
    Dup,
    /// dup2, dup3.
    Dup2,
    /// login_tty: closes 0 to 2.
    LoginTty,
    /// fork and its kind.
    Fork,
    /// daemon.
    Daemon,
    /// vfork: returns twice on one stack.
    Vfork,
    /// clone: arguments on the stack.
    Clone,
    /// posix_spawn; the argument with the file actions.
    Spawn(u8),
    /// Starts or waits for a child inside libc.
    Waits,
    /// exec.
    Exec,
    /// A file in /etc.
    FixedEtc,
    /// aio_write.
    AioWrite,
    /// lio_listio.
    AioList,
    /// mmap.
    Mmap,
    /// mprotect.
    Mprotect,
    /// mremap.
    Mremap,
    /// Reads from this stream: a change only if output is pending.
    StreamRead(u8),
    /// Reads from stdin.
    StdinRead,
    /// Login records, which lie with the logs.
    FixedLog,
    /// Waits for input on this descriptor: ends an until-wait section.
    WaitFd(u8),
    /// Waits: ends an until-wait section.
    Wait,
    /// Waits for a child, which may have locked something for this process.
    Reap,
    /// prctl: may lay a system call filter on the process.
    Confine,
    /// chroot: from then on the paths of locks cannot be asked for.
    Chroot,
    /// syscall().
    Syscall,
}
