//! stdio streams: which have something to write.

use crate::resolve::libc::{ALL_STREAMS, has_pending};

// glibc's FILE, as it has been since 2.1 on 64-bit machines: it is part of the
// ABI, since programs have inlined putc.
const WRITE_BASE: usize = 0x20;
const WRITE_PTR: usize = 0x28;
const CHAIN: usize = 0x68;
const FILENO: usize = 0x70;
/// Where its wide-character part lies.
const WIDE: usize = 0xa0;
/// Above 0: wide characters are written.
const MODE: usize = 0xc0;
// In the wide-character part.
const WIDE_WRITE_BASE: usize = 0x18;
const WIDE_WRITE_PTR: usize = 0x20;

/// How many streams are looked at.
const MOST_STREAMS: usize = 4096;

/// # Safety
/// `at` is a FILE of glibc's, or its wide-character part.
unsafe fn read(at: u64, offset: usize) -> u64 {
    // SAFETY: the offset is one of a field above, which lies inside the structure.
    unsafe { *((at as usize + offset) as *const u64) }
}

/// # Safety
/// `stream` is a FILE of glibc's.
unsafe fn narrow_pending(stream: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { read(stream, WRITE_PTR) > read(stream, WRITE_BASE) }
}

/// Has this stream something to write? None has not. Asked before every read, so by two
/// loads where the libc is glibc.
pub fn is_pending(stream: u64) -> bool {
    if !ALL_STREAMS.exists() {
        return stream != 0 && has_pending(stream);
    }
    // SAFETY: a FILE that the program reads from, or stdout; of glibc, which has the list.
    stream != 0 && unsafe { narrow_pending(stream) }
}

/// Has any stream something to write to a protected file? Where streams cannot be
/// listed (musl), the answer is yes; likewise when there are too many to look at.
pub fn any_pending(protected: impl Fn(i32) -> bool) -> bool {
    if !ALL_STREAMS.exists() {
        return true;
    }
    // SAFETY: `_IO_list_all` is the head of the list of open streams, FILEs of glibc. Not
    // proven for a stream that another thread closes during the walk: its memory has been
    // freed then, and stays mapped as freed small blocks do. The walk is bounded.
    unsafe {
        let mut stream = ALL_STREAMS.value();
        for _ in 0..MOST_STREAMS {
            if stream == 0 {
                return false;
            }
            let narrow = narrow_pending(stream);
            let wide = read(stream, MODE) as i32 > 0 && {
                let data = read(stream, WIDE);
                data != 0 && read(data, WIDE_WRITE_PTR) > read(data, WIDE_WRITE_BASE)
            };
            if (narrow || wide) && protected(read(stream, FILENO) as i32) {
                return true;
            }
            stream = read(stream, CHAIN);
        }
    }
    true
}
