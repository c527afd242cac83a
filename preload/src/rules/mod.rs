//! One function for each rule of the table: what to do before and after the call.

pub mod descriptors;
pub mod locks;
pub mod names;
pub mod process;
pub mod stdio;

use crate::enter::{BRACKET, Begins, PASS, announce};
use crate::frame::Frame;
use crate::place::Target;
use crate::state::{HABITS, HANDS_OVER, RECORD, Region};
use crate::sys::AT_FDCWD;
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::{CWD, Call, Rule, syscalls};

macro_rules! rules {
    ($($kind:ident $name:ident [$($alias:ident)*] $body:tt $what:literal;)*) => {
        /// What to do, by the call's number. An array of its own: the table's
        /// names are pointers, and each would be a relocation at every start.
        static RULES: [Option<Rule>; gate::calls::COUNT] = [None, $(one!($kind $body)),*];
    };
}

macro_rules! one {
    (variadic $target:tt) => {
        None
    };
    (call ($rule:ident $($arg:tt)*)) => {
        Some(Rule::$rule $($arg)*)
    };
}

gate::for_each_call!(rules);

/// The rule of a call.
pub fn rule(call: u16) -> Option<Rule> {
    RULES.get(call as usize).copied().flatten()
}

/// Does this call concern a child that has no region of its own yet? Not what
/// changes nothing and takes no lock: to exec or to exit it needs none.
pub fn needs_region(call: u16) -> bool {
    let rule = rule(call);
    if matches!(rule, Some(Rule::Send(_))) {
        return HABITS.load(Relaxed) & HANDS_OVER != 0;
    }
    !matches!(
        rule,
        None | Some(
            Rule::Exec
                | Rule::ExecList
                | Rule::Fork
                | Rule::Vfork
                | Rule::Clone
                | Rule::Waits
                | Rule::Close(_)
                | Rule::CloseFrom
                | Rule::CloseRange
                | Rule::CloseDir
                | Rule::Dup
                | Rule::Dup2
                | Rule::LoginTty
                | Rule::Mprotect
                | Rule::Mremap
                | Rule::Reap
                | Rule::StreamRead(_)
                | Rule::StdinRead
                | Rule::WaitFd(_)
                | Rule::Wait
        )
    )
}

/// A directory argument: a descriptor, or where the call has none.
fn directory(frame: &Frame, argument: u8) -> i32 {
    if argument == CWD { AT_FDCWD } else { frame.arg(argument) as i32 }
}

fn path(frame: &Frame, argument: u8) -> *const u8 {
    frame.arg(argument) as *const u8
}

/// # Safety
/// The frame's arguments are those that the program passed to the call.
#[inline(always)]
pub unsafe fn enter(frame: &mut Frame) -> u64 {
    let Some(rule) = rule(frame.inner) else { return PASS };
    // SAFETY: as for us; the rule says which argument is what.
    unsafe {
        match rule {
            Rule::Fd(n) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), Begins::Section, |_| Target::Fd(fd))
            }
            Rule::Stream(n) => announce(frame, None, Begins::Section, |f| Target::Stream(f.arg(n))),
            Rule::Sync(n) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), Begins::Nothing, |_| Target::Fd(fd))
            }
            Rule::Path(dir, name) => announce(frame, None, Begins::Section, |f| {
                Target::Name(directory(f, dir), path(f, name))
            }),
            _ => less_often(frame, rule),
        }
    }
}

/// # Safety
/// As [`enter`].
#[inline(never)]
unsafe fn less_often(frame: &mut Frame, rule: Rule) -> u64 {
    // SAFETY: as for us.
    unsafe {
        match rule {
            Rule::Fd(_) | Rule::Stream(_) | Rule::Sync(_) | Rule::Path(..) => PASS,
            Rule::Send(n) => {
                let fd = frame.arg(n) as i32;
                if HABITS.load(Relaxed) & HANDS_OVER == 0 {
                    return PASS;
                }
                announce(frame, Some(fd), Begins::Section, |_| Target::Fd(fd))
            }
            Rule::Attributes(n) => {
                let fd = frame.arg(n) as i32;
                // Not shown with its descriptor: the freezer forgives a pipe's.
                announce(frame, None, Begins::Section, |_| Target::Attributes(fd))
            }
            Rule::Paths(da, a, db, b) => names::rename(frame, da, a, db, b),
            Rule::Link(da, a, db, b) => names::link(frame, da, a, db, b),
            Rule::Unlink(dir, name) => names::unlink(frame, dir, name),
            Rule::Open(dir, name, flags) => {
                let bits = frame.arg(flags);
                names::open(frame, directory(frame, dir), path(frame, name), bits)
            }
            Rule::OpenHow => names::open_how(frame),
            Rule::OpenHandle => names::open_handle(frame),
            Rule::OpenMode(name, mode) => {
                let bits = stdio::open_flags(path(frame, mode));
                names::open(frame, AT_FDCWD, path(frame, name), bits)
            }
            Rule::TempDir => announce(frame, None, Begins::Nothing, |_| {
                Target::Name(AT_FDCWD, c"/tmp/x".as_ptr().cast())
            }),
            Rule::FixedEtc => announce(frame, None, Begins::Section, |_| {
                Target::Name(AT_FDCWD, c"/etc/x".as_ptr().cast())
            }),
            Rule::Bind => names::bind(frame),
            Rule::Ioctl => descriptors::ioctl(frame),
            Rule::Madvise => descriptors::madvise(frame),
            Rule::Mmap => descriptors::mmap(frame),
            Rule::Mprotect => descriptors::mprotect(frame),
            Rule::Mremap => PASS,
            Rule::StreamRead(n) => stdio::read(frame, frame.arg(n)),
            Rule::StdinRead => stdio::read(frame, 0),
            // utmpname() may have put the file anywhere.
            Rule::FixedLog => announce(frame, None, Begins::Nothing, |_| Target::Anything),
            Rule::WaitFd(n) => process::waits(Some(frame.arg(n) as i32)),
            Rule::Wait => process::waits(None),
            Rule::Reap => process::reap(),
            Rule::AioWrite => descriptors::aio_write(frame),
            Rule::AioList => descriptors::aio_list(frame),
            Rule::Close(_)
            | Rule::CloseFrom
            | Rule::CloseRange
            | Rule::CloseDir
            | Rule::Dup
            | Rule::Dup2
            | Rule::LoginTty => descriptors::closing(frame, rule),
            Rule::Freopen => stdio::freopen(frame),
            Rule::StreamClose(n) => stdio::close(frame, n),
            Rule::Flush(n) => stdio::flush(frame, n),
            Rule::Stdout => stdio::output(frame, true),
            Rule::Stderr => stdio::output(frame, false),
            Rule::StderrList => {
                // Nothing may be put between caller and call: wait here, and let
                // it go unannounced.
                let action = stdio::output(frame, false);
                process::let_go(frame);
                action & PASS
            }
            Rule::AllStreams => announce(frame, None, Begins::Section, |_| Target::Streams),
            Rule::Last => stdio::last(frame),
            Rule::Fcntl => locks::fcntl(frame),
            Rule::Flock => locks::flock(frame),
            Rule::Lockf => locks::lockf(frame),
            Rule::Fork | Rule::Daemon => process::fork(frame),
            Rule::Vfork | Rule::Clone | Rule::Waits => process::child_without_return(frame),
            Rule::Spawn(actions) => process::spawn(frame, actions),
            Rule::Exec => process::exec(frame),
            Rule::ExecList => process::exec_list(frame),
            Rule::Syscall => by_number(frame),
        }
    }
}

/// `syscall()`: the call that its number says, with the arguments one further on.
///
/// # Safety
/// As [`enter`].
unsafe fn by_number(frame: &mut Frame) -> u64 {
    // The kernel takes 32 bits of it.
    let number = (frame.regs[0] as u32 & !syscalls::X32_BIT) as u64;
    match number as u16 {
        _ if number > u16::MAX as u64 => return PASS,
        syscalls::IO_URING_SETUP => {
            descriptors::note(gate::region::FLAG_IO_URING);
            return PASS;
        }
        syscalls::IO_SETUP => {
            descriptors::note(gate::region::FLAG_AIO);
            return PASS;
        }
        _ => {}
    }
    let known = syscalls::X86_64;
    let found = known.binary_search_by_key(&number, |(nr, _)| *nr as u64);
    let Some((_, call)) = found.ok().and_then(|at| known.get(at)) else {
        return PASS;
    };
    // SAFETY: the trampoline's frame.
    let seventh = unsafe { frame.stack_argument() };
    let [_, a, b, c, d, e] = frame.regs;
    frame.shifted = [a, b, c, d, e, seventh];
    frame.inner = *call as u16;
    // No rule of the list comes back here.
    debug_assert!(*call != Call::syscall);
    // SAFETY: as for us.
    unsafe {
        match rule(frame.inner) {
            Some(Rule::Syscall) | None => PASS,
            Some(Rule::Fd(n)) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), Begins::Section, |_| Target::Fd(fd))
            }
            Some(Rule::Sync(n)) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), Begins::Nothing, |_| Target::Fd(fd))
            }
            Some(Rule::Path(dir, name)) => announce(frame, None, Begins::Section, |f| {
                Target::Name(directory(f, dir), path(f, name))
            }),
            Some(rule) => less_often(frame, rule),
        }
    }
}

/// What a rule has to do once the call has returned; the thread's word still
/// announces it.
///
/// # Safety
/// As [`enter`].
#[inline(always)]
pub unsafe fn leave(frame: &mut Frame, region: &'static Region) {
    match rule(frame.inner) {
        Some(Rule::Fd(n)) => {
            if HABITS.load(Relaxed) & RECORD != 0 {
                crate::change::recorded(region, frame.arg(n) as i32);
            }
        }
        Some(Rule::Stream(_) | Rule::Path(..) | Rule::Sync(_)) | None => {}
        // SAFETY: as for us.
        Some(rule) => unsafe { leave_less_often(frame, region, rule) },
    }
}

/// # Safety
/// As [`enter`].
#[inline(never)]
unsafe fn leave_less_often(frame: &mut Frame, region: &'static Region, rule: Rule) {
    // SAFETY: as for us.
    unsafe {
        match rule {
            Rule::Paths(..) | Rule::Unlink(..) => names::unnamed(frame, region),
            Rule::Link(_, _, dir, name) => names::linked(frame, region, dir, name),
            Rule::Open(..) | Rule::OpenMode(..) | Rule::OpenHow => names::opened(frame, region),
            Rule::Close(_)
            | Rule::CloseFrom
            | Rule::CloseRange
            | Rule::CloseDir
            | Rule::Dup
            | Rule::Dup2
            | Rule::LoginTty
            | Rule::StreamClose(_)
            | Rule::Freopen => descriptors::closed(frame, region, rule),
            Rule::Fcntl | Rule::Flock | Rule::Lockf => locks::done(frame, region, rule),
            Rule::Reap => locks::after_a_child(region),
            _ => {}
        }
    }
}

/// For rules that only look: what [`BRACKET`] or [`PASS`] a condition means.
fn bracket_if(condition: bool) -> u64 {
    if condition { BRACKET } else { PASS }
}
