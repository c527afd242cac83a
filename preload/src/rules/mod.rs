//! One function for each rule of the table: what to do before and after the call.
//!
//! | module | rules |
//! |---|---|
//! | [`names`] | open, link, unlink, rename |
//! | [`dotlocks`] | lock files among those names |
//! | [`lock_files`] | those that this process holds |
//! | [`roots`] | where their names lead |
//! | [`after_child`] | what a child that has ended has left |
//! | [`lock_helpers`] | programs that make a lock file for the one that runs them |
//! | [`sockets`] | bind |
//! | [`locks`] | fcntl, flock, lockf |
//! | [`descriptors`] | close, dup |
//! | [`inherited`] | wait: what a child has locked for this process |
//! | [`confine`] | prctl, seccomp |
//! | [`stdio`] | output, flushes, closing of streams |
//! | [`mappings`], [`ioctl`], [`aio`] | what changes files otherwise |
//! | [`children`] | fork, vfork, spawn, exec |
//! | [`waits`] | calls that wait |

mod after_child;
mod aio;
mod arguments;
pub mod children;
mod confine;
mod descriptors;
mod dotlocks;
pub mod inherited;
mod ioctl;
mod lock_files;
mod lock_helpers;
mod locks;
mod mappings;
mod names;
mod roots;
mod sockets;
mod stdio;
pub mod waits;

use crate::announce::{PASS, announce, take_back};
use crate::change::{SectionEffect, recorded};
use crate::frame::Frame;
use crate::protected::operand::Operand;
use crate::rule_table::rule;
use crate::this_process::profile_flags::applies;
use crate::this_process::state::{Region, set_region_flag};
use arguments::{directory, path};
use gate::calls::{Call, Rule, syscalls};
use gate::profile::Key;
use gate::region::{FLAG_AIO, FLAG_IO_URING};
use linux_raw_sys::general::AT_FDCWD;

/// Does this call concern a child that has no region of its own yet? Not what
/// changes nothing and takes no lock: to exec or to exit it needs none.
pub fn needs_region(call: u16) -> bool {
    let rule = rule(call);
    if matches!(rule, Some(Rule::Send(_))) {
        return applies(Key::HandOver);
    }
    !matches!(
        rule,
        None | Some(
            Rule::Exec
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
                | Rule::Confine
                | Rule::Chroot
                | Rule::StreamRead(_)
                | Rule::StdinRead
                | Rule::WaitFd(_)
                | Rule::Wait
        )
    )
}

/// # Safety
/// The frame is the trampoline's own, and its arguments are those that the program passed to
/// the call.
#[inline(always)]
pub unsafe fn enter(frame: &mut Frame) -> u64 {
    let Some(rule) = rule(frame.inner) else { return PASS };
    // SAFETY: an argument that the rule calls a path is one, as the program passed it.
    unsafe {
        match rule {
            Rule::Fd(n) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), SectionEffect::Begins, |_| Operand::Fd(fd))
            }
            Rule::Stream(n) => {
                announce(frame, None, SectionEffect::Begins, |f| Operand::Stream(f.arg(n)))
            }
            Rule::Sync(n) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), SectionEffect::None, |_| Operand::Fd(fd))
            }
            Rule::Path(dir, name) => announce(frame, None, SectionEffect::Begins, |f| {
                Operand::Name(directory(f, dir), path(f, name))
            }),
            Rule::Make(dir, name) if !dotlocks::are_named() => entry(frame, dir, name),
            Rule::Unlink(dir, name) if !dotlocks::may_name_lock() => entry(frame, dir, name),
            Rule::WaitFd(_) | Rule::Wait if !applies(Key::UntilWait) => PASS,
            Rule::Close(_) if descriptors::none_matters() => descriptors::close(),
            Rule::Dup => descriptors::dup(),
            Rule::Dup2 if descriptors::none_matters() => descriptors::dup2(frame),
            Rule::Reap => waits::reap(frame),
            _ => less_often(frame, rule),
        }
    }
}

/// A name that comes or goes, and is no lock's.
///
/// # Safety
/// As [`enter`].
unsafe fn entry(frame: &mut Frame, dir: u8, name: u8) -> u64 {
    frame.note[0] = 0;
    // SAFETY: the path is the program's, by the caller's promise.
    unsafe {
        announce(frame, None, SectionEffect::Begins, |f| {
            Operand::Entry(directory(f, dir), path(f, name))
        })
    }
}

/// # Safety
/// As [`enter`].
#[inline(never)]
unsafe fn less_often(frame: &mut Frame, rule: Rule) -> u64 {
    // SAFETY: the arguments are the program's, by the caller's promise.
    unsafe {
        match rule {
            Rule::Fd(_) | Rule::Stream(_) | Rule::Sync(_) | Rule::Path(..) => PASS,
            Rule::Send(n) => {
                let fd = frame.arg(n) as i32;
                if !applies(Key::HandOver) {
                    return PASS;
                }
                announce(frame, Some(fd), SectionEffect::Begins, |_| Operand::Fd(fd))
            }
            Rule::Attributes(n) => {
                let fd = frame.arg(n) as i32;
                // Not shown with its descriptor: the freezer disregards a pipe's.
                announce(frame, None, SectionEffect::Begins, |_| Operand::Attributes(fd))
            }
            Rule::Paths(da, a, db, b) => names::rename(frame, da, a, db, b),
            Rule::Make(dir, name) => names::make(frame, dir, name),
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
            Rule::TempDir => announce(frame, None, SectionEffect::None, |_| {
                Operand::Name(AT_FDCWD, c"/tmp/x".as_ptr().cast())
            }),
            Rule::FixedEtc => announce(frame, None, SectionEffect::Begins, |_| {
                Operand::Name(AT_FDCWD, c"/etc/x".as_ptr().cast())
            }),
            Rule::Bind => sockets::bind(frame),
            Rule::Ioctl => ioctl::ioctl(frame),
            Rule::Madvise => mappings::madvise(frame),
            Rule::Mmap => mappings::mmap(frame),
            Rule::Mprotect => mappings::mprotect(frame),
            Rule::Mremap => PASS,
            Rule::StreamRead(n) => stdio::read(frame, frame.arg(n)),
            Rule::StdinRead => stdio::read(frame, 0),
            // utmpname() may have put the file anywhere.
            Rule::FixedLog => announce(frame, None, SectionEffect::None, |_| Operand::Anything),
            Rule::WaitFd(n) => waits::waits(Some(frame.arg(n) as i32)),
            Rule::Wait => waits::waits(None),
            Rule::Dup => descriptors::dup(),
            Rule::Reap => waits::reap(frame),
            Rule::AioWrite => aio::aio_write(frame),
            Rule::AioList => aio::aio_list(frame),
            Rule::Close(_)
            | Rule::CloseFrom
            | Rule::CloseRange
            | Rule::CloseDir
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
                take_back(frame);
                action & PASS
            }
            Rule::AllStreams => announce(frame, None, SectionEffect::Begins, |_| Operand::Streams),
            Rule::Last => stdio::last(frame),
            Rule::Fcntl => locks::fcntl(frame),
            Rule::Flock => locks::flock_call(frame),
            Rule::Lockf => locks::lockf(frame),
            Rule::Fork | Rule::Daemon => children::fork(frame),
            Rule::Vfork | Rule::Clone | Rule::Waits => children::child_without_return(frame),
            Rule::Spawn(actions) => children::spawn(frame, actions),
            Rule::Exec => children::exec(frame),
            Rule::Confine => confine::prctl(frame),
            Rule::Chroot => locks::chroot(),
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
    let number = frame.regs[0] as u32 & !syscalls::X32_BIT;
    let Ok(number) = u16::try_from(number) else { return PASS };
    match number {
        syscalls::IO_URING_SETUP => set_region_flag(FLAG_IO_URING),
        syscalls::IO_SETUP => set_region_flag(FLAG_AIO),
        syscalls::SECCOMP => {
            frame.inner = Call::prctl as u16;
            return confine::seccomp(frame);
        }
        _ => {}
    }
    let known = syscalls::X86_64;
    let found = known.binary_search_by_key(&number, |(number, _)| *number);
    let Some((_, call)) = found.ok().and_then(|at| known.get(at)) else { return PASS };
    // SAFETY: this is the trampoline's own frame, by the caller's promise.
    let seventh = unsafe { frame.stack_argument() };
    let [_, a, b, c, d, e] = frame.regs;
    frame.shifted = [a, b, c, d, e, seventh];
    frame.inner = *call as u16;
    // No rule of the list comes back here.
    debug_assert!(*call != Call::syscall);
    // SAFETY: the arguments are the program's, by the caller's promise.
    unsafe {
        match rule(frame.inner) {
            Some(Rule::Syscall) | None => PASS,
            Some(Rule::Fd(n)) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), SectionEffect::Begins, |_| Operand::Fd(fd))
            }
            Some(Rule::Sync(n)) => {
                let fd = frame.arg(n) as i32;
                announce(frame, Some(fd), SectionEffect::None, |_| Operand::Fd(fd))
            }
            Some(Rule::Path(dir, name)) => announce(frame, None, SectionEffect::Begins, |f| {
                Operand::Name(directory(f, dir), path(f, name))
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
            if applies(Key::Record) {
                recorded(region, frame.arg(n) as i32);
            }
        }
        Some(Rule::Stream(_) | Rule::Path(..) | Rule::Sync(_)) | None => {}
        Some(Rule::Make(..) | Rule::Unlink(..)) if frame.note[0] == 0 => {}
        Some(Rule::Dup) => descriptors::dupped(frame, region),
        Some(Rule::Reap) if !waits::has_reaped(frame) => {}
        // SAFETY: the arguments are the program's, by the caller's promise.
        Some(rule) => unsafe { leave_less_often(frame, region, rule) },
    }
}

/// # Safety
/// As [`enter`].
#[inline(never)]
unsafe fn leave_less_often(frame: &mut Frame, region: &'static Region, rule: Rule) {
    // SAFETY: the arguments are the program's, by the caller's promise.
    unsafe {
        match rule {
            Rule::Unlink(..) => dotlocks::unnamed(frame, region),
            Rule::Paths(_, _, dir, name) => names::renamed(frame, region, dir, name),
            Rule::Link(_, _, dir, name) | Rule::Make(dir, name) => {
                dotlocks::linked(frame, region, dir, name);
            }
            Rule::Open(..) | Rule::OpenMode(..) | Rule::OpenHow => dotlocks::opened(frame, region),
            Rule::Close(_)
            | Rule::CloseFrom
            | Rule::CloseRange
            | Rule::CloseDir
            | Rule::Dup2
            | Rule::LoginTty
            | Rule::StreamClose(_)
            | Rule::Freopen => descriptors::closed(frame, region, rule),
            Rule::Fcntl | Rule::Flock | Rule::Lockf => locks::done(frame, region, rule),
            Rule::Dup => descriptors::dupped(frame, region),
            Rule::Reap => waits::reaped(frame, region),
            Rule::Waits => waits::has_waited(frame, region),
            Rule::Spawn(_) => children::spawned(frame, region),
            Rule::Confine => confine::done(frame),
            Rule::Mmap => mappings::mapped(frame, region),
            _ => {}
        }
    }
}
