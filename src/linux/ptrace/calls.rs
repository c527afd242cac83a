//! The requests of ptrace.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// New threads, processes and images are ours from their first instruction on. Not traced is the exit
/// (a thread on its way out would wait for us, perhaps while we wait for it), and never is a tracee
/// killed with us: when we die it runs on.
const OPTIONS: libc::c_int = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESYSGOOD;

/// `kcmp`'s question whether two threads share their table of descriptors (linux/kcmp.h).
const KCMP_FILES: libc::c_int = 2;

/// With which the kernel begins a call again (linux/errno.h): ERESTARTSYS, ERESTARTNOINTR,
/// ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
const RESTARTS: [i64; 4] = [-512, -513, -514, -516];

fn request(what: libc::c_uint, tid: i32, data: usize) -> nix::Result<()> {
    // SAFETY: none of the requests below reads or writes our memory: the address is null and the data
    // a number.
    let done = unsafe { libc::ptrace(what as _, tid, std::ptr::null_mut::<libc::c_void>(), data) };
    Errno::result(done).map(drop)
}

/// Makes a thread ours without stopping it. It may block while its process is in exec, until
/// somebody takes those of its threads that have died ([`super::rescue`]).
pub fn seize(tid: i32) -> nix::Result<()> {
    request(libc::PTRACE_SEIZE as _, tid, OPTIONS as usize)
}

/// Asks one of ours to stop.
pub fn interrupt(tid: i32) -> nix::Result<()> {
    request(libc::PTRACE_INTERRUPT as _, tid, 0)
}

/// Lets one of ours run on that has stopped; `signal` is delivered to it, if it is not 0.
pub fn run(tid: i32, signal: i32) -> nix::Result<()> {
    request(libc::PTRACE_CONT as _, tid, signal as usize)
}

/// The same, to the beginning or the end of its next system call.
pub fn run_to_call(tid: i32, signal: i32) -> nix::Result<()> {
    request(libc::PTRACE_SYSCALL as _, tid, signal as usize)
}

/// Leaves one as it is that job control has stopped, and lets it hear SIGCONT.
pub fn listen(tid: i32) -> nix::Result<()> {
    request(libc::PTRACE_LISTEN as _, tid, 0)
}

/// Lets one of ours go that has stopped. Job control's stop stays.
pub fn detach(tid: i32) -> nix::Result<()> {
    request(libc::PTRACE_DETACH as _, tid, 0)
}

/// The thread that a fork or clone has made.
pub fn born(tid: i32) -> nix::Result<i32> {
    let mut message: libc::c_ulong = 0;
    let (to, none) = (&raw mut message, std::ptr::null_mut::<libc::c_void>());
    // SAFETY: the kernel stores one unsigned long there, which is what `message` is.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG as _, tid, none, to) };
    Errno::result(done).map(|_| message as i32)
}

/// The system call that a thread was in when it was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoppedCall {
    /// Its number.
    pub number: i64,
    /// Its first three arguments.
    pub arguments: [u64; 3],
    /// Its result, or how the kernel goes on with it.
    pub result: i64,
}

impl StoppedCall {
    /// Has the thread been stopped before the kernel began with it?
    pub fn is_at_beginning(&self) -> bool {
        self.result == -i64::from(libc::ENOSYS)
    }

    /// Was it waiting, and is it begun again when the thread runs, or ended with EINTR?
    pub fn was_waiting(&self) -> bool {
        RESTARTS.contains(&self.result) || self.result == -i64::from(libc::EINTR)
    }
}

/// The call that a thread was in. None: it was in none, or its registers cannot be had.
pub fn stopped_in(tid: i32) -> Option<StoppedCall> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut regs = std::mem::MaybeUninit::<libc::user_regs_struct>::uninit();
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the kernel fills one user_regs_struct, or fails.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS as _, tid, none, regs.as_mut_ptr()) };
        Errno::result(done).ok()?;
        // SAFETY: the request has succeeded, so the kernel has filled it.
        let regs = unsafe { regs.assume_init() };
        let number = regs.orig_rax as i64;
        let arguments = [regs.rdi, regs.rsi, regs.rdx];
        let result = regs.rax as i64;
        (number >= 0).then_some(StoppedCall { number, arguments, result })
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = tid;
        None
    }
}

/// Do these two threads have one table of descriptors? False if that cannot be told.
pub fn share_descriptors(a: i32, b: i32) -> bool {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_FILES, 0, 0) == 0 }
}
