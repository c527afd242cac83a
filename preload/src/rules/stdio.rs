//! stdio: output and its flush points.
//!
//! Every output call may reach the kernel (buffer full, line or no buffering), so
//! each is an entry. What is left in buffers at exit is covered by the library's
//! destructor, which enters and never leaves.

use super::descriptors::close_now;
use crate::enter::{BRACKET, Begins, PASS, announce};
use crate::frame::Frame;
use crate::own;
use crate::place::{Target, descriptor};
use crate::resolve::{self, HELPERS};
use crate::state::{GATED, LOCKS_SEEN, MODE, region};
use crate::sys::{self, AT_FDCWD};
use crate::text::program_string;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use gate::calls::Call;

/// The open flags that an fopen mode means.
///
/// # Safety
/// `mode` is a C string or null.
pub unsafe fn open_flags(mode: *const u8) -> u64 {
    // SAFETY: as for us.
    let mode = unsafe { program_string(mode) }.unwrap_or(&[]);
    let exclusive = if mode.contains(&b'x') { 0o200 } else { 0 };
    match mode.first() {
        Some(b'w') => 0o1100 | exclusive,
        Some(b'a') => 0o100 | exclusive,
        _ => 0,
    }
}

/// Output to stdout or stderr.
pub fn output(frame: &mut Frame, stdout: bool) -> u64 {
    let helper = if stdout { &HELPERS.stdout } else { &HELPERS.stderr };
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Section, |_| Target::Stream(resolve::variable(helper))) }
}

/// fflush: one stream, or all. One that has nothing to write changes nothing.
pub fn flush(frame: &mut Frame, argument: u8) -> u64 {
    let stream = frame.arg(argument);
    if stream != 0 && !resolve::has_pending(stream) {
        return PASS;
    }
    // SAFETY: no path.
    unsafe {
        announce(frame, None, Begins::Section, |f| match f.arg(argument) {
            0 => Target::Streams,
            stream => Target::Stream(stream),
        })
    }
}

/// verr and its kind: writes to stderr and exits inside libc.
pub fn last(frame: &mut Frame) -> u64 {
    output(frame, false);
    super::process::let_go(frame);
    PASS
}

/// fclose: flushes, then closes, which ends locks. To close what was only read, or has been
/// flushed, writes nothing, and must not wait: somebody may wait for that process's end.
pub fn close(frame: &mut Frame, argument: u8) -> u64 {
    let stream = frame.arg(argument);
    note_file(frame, stream);
    let action = if stream != 0 && resolve::has_pending(stream) {
        // SAFETY: no path.
        unsafe { announce(frame, None, Begins::Section, |f| Target::Stream(f.arg(argument))) }
    } else {
        PASS
    };
    crate::judged::forget();
    closes_unannounced(frame, action)
}

/// freopen: flushes and closes one file, opens another.
///
/// # Safety
/// The arguments are freopen's.
pub unsafe fn freopen(frame: &mut Frame) -> u64 {
    let (path, mode, stream) = (frame.arg(0) as *const u8, frame.arg(1), frame.arg(2));
    note_file(frame, stream);
    // SAFETY: as for us.
    let action = unsafe {
        let creates = open_flags(mode as *const u8) != 0;
        announce(frame, None, Begins::Section, |_| {
            if path.is_null() || !creates || descriptor(resolve::fileno(stream)) {
                Target::Stream(stream)
            } else {
                Target::Opened(AT_FDCWD, path)
            }
        })
    };
    crate::judged::forget();
    closes_unannounced(frame, action)
}

/// Remembers which file a stream has, while it has it.
fn note_file(frame: &mut Frame, stream: u64) {
    frame.note = [0; 5];
    if !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    let fd = resolve::fileno(stream);
    if let Some(stat) = sys::fstat(fd) {
        frame.note = [1, fd as u64, stat.dev, stat.ino, 0];
    }
}

fn closes_unannounced(frame: &mut Frame, action: u64) -> u64 {
    if action == PASS
        && frame.note[0] == 1
        && let Some(region) = region()
    {
        close_now(region, frame.note[1] as i32);
    }
    action
}

// glibc's FILE, as it has been since 2.1 on 64-bit machines: it is part of the
// ABI, since programs have inlined putc.
const WRITE_BASE: usize = 0x20;
const WRITE_PTR: usize = 0x28;
const CHAIN: usize = 0x68;
const FILENO: usize = 0x70;
const WIDE: usize = 0xa0;
const MODE_OF: usize = 0xc0;

/// A read writes out what is pending on the same stream, and on a line-buffered
/// stdout. With nothing pending (nearly always) it is no entry at all.
pub fn read(frame: &mut Frame, stream: u64) -> u64 {
    let pending = |stream: u64| {
        if HELPERS.streams.load(Relaxed) == 0 {
            return stream != 0 && resolve::has_pending(stream);
        }
        stream != 0 && {
            // SAFETY: a FILE of glibc's (it has the list of streams).
            unsafe {
                let at = stream as usize;
                *((at + WRITE_PTR) as *const u64) > *((at + WRITE_BASE) as *const u64)
            }
        }
    };
    let stdout = resolve::variable(&HELPERS.stdout);
    if !pending(stream) && !pending(stdout) {
        return PASS;
    }
    let target = if pending(stream) { stream } else { stdout };
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Section, |_| Target::Stream(target)) }
}

/// Has any stream something to write to a protected file? Where streams cannot be
/// listed (musl), the answer is yes.
pub fn any_pending() -> bool {
    let list = HELPERS.streams.load(Acquire);
    if list == 0 {
        return true;
    }
    // SAFETY: `_IO_list_all` is the head of the list of open streams; a stream that
    // another thread closes meanwhile stays readable long enough in practice, and
    // the walk is bounded.
    unsafe {
        let read = |at: u64, offset: usize| *((at as usize + offset) as *const u64);
        let mut stream = *(list as *const u64);
        for _ in 0..4096 {
            if stream == 0 {
                return false;
            }
            let narrow = read(stream, WRITE_PTR) > read(stream, WRITE_BASE);
            let wide = read(stream, MODE_OF) as i32 > 0 && {
                let data = read(stream, WIDE);
                data != 0 && read(data, 32) > read(data, 24)
            };
            if (narrow || wide) && descriptor(read(stream, FILENO) as i32) {
                return true;
            }
            stream = read(stream, CHAIN);
        }
    }
    true
}

/// Runs last, or nearly so: libc flushes its streams after all destructors. If
/// anything is left to write, this enters and never leaves; the death of the
/// process is the end of it.
extern "C" fn at_exit() {
    if MODE.load(Acquire) != GATED {
        return;
    }
    // An orderly end is a wait: nothing follows.
    super::process::waits(None);
    if !any_pending() || own::region_or_start().is_none() {
        return;
    }
    let mut frame = Frame::empty(Call::fflush as u32);
    // SAFETY: no path.
    let action = unsafe { announce(&mut frame, None, Begins::Section, |_| Target::Streams) };
    if action == BRACKET
        && let Some(slot) = region().and_then(own::slot)
    {
        // Whatever other destructors do lies inside this entry.
        slot.stack.store(u64::MAX, Relaxed);
    }
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;
