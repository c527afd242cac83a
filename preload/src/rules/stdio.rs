//! stdio: output and its flush points.
//!
//! Every output call may reach the kernel (buffer full, line or no buffering), so
//! each is an entry. What is left in buffers at exit is covered by `hook::at_exit`.

use super::arguments::{O_CREAT, O_EXCL, O_TRUNC};
use super::descriptors::close_now;
use crate::announce::{PASS, announce, take_back};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::linux::confined;
use crate::program_memory::program_string;
use crate::protected::operand::{Operand, descriptor};
use crate::protected::streams::is_pending;
use crate::protected::{descriptor_cache, unasked};
use crate::resolve::libc::{STDERR, STDOUT, fileno, has_pending};
use crate::this_process::lock_table::file_of;
use crate::this_process::state::{LOCKS_SEEN, region};
use core::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::general::AT_FDCWD;

/// The open flags that an fopen mode means.
///
/// # Safety
/// `mode` is a C string or null.
pub unsafe fn open_flags(mode: *const u8) -> u64 {
    // SAFETY: the program's string, which it leaves as it is until its call has returned.
    let mode = unsafe { program_string(mode) }.unwrap_or(&[]);
    let exclusive = if mode.contains(&b'x') { O_EXCL } else { 0 };
    match mode.first() {
        Some(b'w') => O_CREAT | O_TRUNC | exclusive,
        Some(b'a') => O_CREAT | exclusive,
        _ => 0,
    }
}

/// Output to stdout or stderr.
pub fn output(frame: &mut Frame, stdout: bool) -> u64 {
    let variable = if stdout { &STDOUT } else { &STDERR };
    // SAFETY: this operand names no path.
    unsafe { announce(frame, None, SectionEffect::Begins, |_| Operand::Stream(variable.value())) }
}

/// fflush: one stream, or all. One that has nothing to write changes nothing.
pub fn flush(frame: &mut Frame, argument: u8) -> u64 {
    let stream = frame.arg(argument);
    if stream != 0 && !has_pending(stream) {
        return PASS;
    }
    // SAFETY: this operand names no path.
    unsafe {
        announce(frame, None, SectionEffect::Begins, |f| match f.arg(argument) {
            0 => Operand::Streams,
            stream => Operand::Stream(stream),
        })
    }
}

/// verr and its kind: writes to stderr and exits inside libc.
pub fn last(frame: &mut Frame) -> u64 {
    output(frame, false);
    take_back(frame);
    PASS
}

/// fclose: flushes, then closes, which ends locks. To close what was only read, or has been
/// flushed, writes nothing, and must not wait: a process may wait for that one's end.
pub fn close(frame: &mut Frame, argument: u8) -> u64 {
    let stream = frame.arg(argument);
    note_file(frame, stream);
    let action = if stream != 0 && has_pending(stream) {
        // SAFETY: this operand names no path.
        unsafe {
            announce(frame, None, SectionEffect::Begins, |f| Operand::Stream(f.arg(argument)))
        }
    } else {
        PASS
    };
    descriptor_cache::forget();
    if confined::by_itself() {
        unasked::forget(fileno(stream));
    }
    closes_unannounced(frame, action)
}

/// freopen: flushes and closes one file, opens another.
///
/// # Safety
/// The arguments are freopen's.
pub unsafe fn freopen(frame: &mut Frame) -> u64 {
    let (path, mode, stream) = (frame.arg(0) as *const u8, frame.arg(1), frame.arg(2));
    note_file(frame, stream);
    // SAFETY: mode and path are the program's, by the caller's promise.
    let action = unsafe {
        let creates = open_flags(mode as *const u8) != 0;
        announce(frame, None, SectionEffect::Begins, |_| {
            if path.is_null() || !creates || descriptor(fileno(stream)) {
                Operand::Stream(stream)
            } else {
                Operand::Opened(AT_FDCWD, path)
            }
        })
    };
    descriptor_cache::forget();
    if confined::by_itself() {
        unasked::forget(fileno(stream));
    }
    closes_unannounced(frame, action)
}

/// Remembers which file a stream has, while it has it.
fn note_file(frame: &mut Frame, stream: u64) {
    frame.note = [0; 5];
    if !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    let fd = fileno(stream);
    if let Some((dev, ino)) = region().and_then(|region| file_of(region, fd)) {
        frame.note = [1, fd as u64, dev, ino, 0];
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

/// A read writes out what is pending on the same stream, and on a line-buffered
/// stdout. With nothing pending (nearly always) it is no entry at all.
pub fn read(frame: &mut Frame, stream: u64) -> u64 {
    let stdout = STDOUT.value();
    if !is_pending(stream) && !is_pending(stdout) {
        return PASS;
    }
    let target = if is_pending(stream) { stream } else { stdout };
    // SAFETY: this operand names no path.
    unsafe { announce(frame, None, SectionEffect::Begins, |_| Operand::Stream(target)) }
}
