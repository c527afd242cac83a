//! Is the control page's clock this process's: the same boot, the same time namespace?

use crate::linux::confined;
use crate::linux::files::{read_file, stat_at};
use crate::linux::signals::Blocked;
use crate::linux::time::now;
use crate::text;
use crate::this_process::state::{WIPED, control, set_region_flag};
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;
use gate::control::ControlPage;
use gate::region::FLAG_FOREIGN_CLOCK;
use linux_raw_sys::general::AT_FDCWD;

/// The id of the present boot; zero where /proc is not there.
pub fn boot_id(blocked: &Blocked) -> [u8; 16] {
    let mut text = [0u8; 40];
    let mut id = [0u8; 16];
    // SAFETY: a literal C string.
    let _ = unsafe {
        read_file(blocked, c"/proc/sys/kernel/random/boot_id".as_ptr().cast(), &mut text)
    };
    let digits = text.iter().filter_map(|c| (*c as char).to_digit(16));
    for (at, digit) in digits.enumerate().take(32) {
        if let Some(byte) = id.get_mut(at / 2) {
            *byte = *byte << 4 | digit as u8;
        }
    }
    id
}

/// Not asked yet.
const UNASKED: u8 = 0;
/// This process's clock is the page's.
const SAME: u8 = 1;
/// It is not.
const OTHER: u8 = 2;

/// Does a deadline on this gate's page mean nothing here? Asked at a raised barrier: the answer costs a
/// few looks into /proc, most processes never meet one, and it is kept. A forked child asks for itself:
/// what unshares or joins a time namespace stays in its own, and its children are born in the other. A
/// child that may not ask (a filter) goes by its parent's answer.
pub fn is_foreign() -> bool {
    static LAST: AtomicU8 = AtomicU8::new(UNASKED);
    let own = &WIPED.clock;
    let kept = match own.load(Relaxed) {
        UNASKED if confined::by_itself() => LAST.load(Relaxed),
        asked => asked,
    };
    let foreign = match kept {
        UNASKED => control().is_none_or(is_foreign_to),
        known => known == OTHER,
    };
    let known = if foreign { OTHER } else { SAME };
    own.store(known, Relaxed);
    LAST.store(known, Relaxed);
    if foreign {
        set_region_flag(FLAG_FOREIGN_CLOCK);
    }
    foreign
}

/// A barrier was raised in the past; the clock that this is read by may lie some ms behind.
const TOLERANCE_NS: u64 = 1_000_000_000;

/// The boot's id proves that the clock is the same. Another one proves nothing: a container may be
/// shown an id of its own, and ProcSubset=pid hides it. Then what the clock itself says counts: a
/// barrier that was raised in the future is another boot's. (One of another boot that seems to have
/// been raised a moment ago holds until its deadline, once.)
#[cold]
fn is_foreign_to(control: &ControlPage) -> bool {
    let of_the_future = || control.closed_at.load(Relaxed) > now().saturating_add(TOLERANCE_NS);
    match time_namespace() {
        // In a chroot without /proc there is no answer, and no namespace was entered.
        TimeNamespace::WithoutOffset => {
            control.boot_id != boot_id(&Blocked::all()) && of_the_future()
        }
        TimeNamespace::WithOffset => true,
        TimeNamespace::NotTold => of_the_future(),
    }
}

/// What is known of the time namespace that this process lives in.
enum TimeNamespace {
    /// Deadlines are absolute: under another clock they mean nothing.
    WithOffset,
    WithoutOffset,
    /// The offsets that the kernel tells are those of its children's, and that is another.
    NotTold,
}

fn time_namespace() -> TimeNamespace {
    // SAFETY: literal C strings.
    let [own, childrens] = unsafe {
        [c"/proc/self/ns/time", c"/proc/self/ns/time_for_children"]
            .map(|path| stat_at(AT_FDCWD, path.as_ptr().cast()).map(|stat| (stat.dev, stat.ino)))
    };
    if own != childrens {
        return TimeNamespace::NotTold;
    }
    let mut text = [0u8; 128];
    // SAFETY: a literal C string.
    let len = unsafe {
        read_file(&Blocked::all(), c"/proc/self/timens_offsets".as_ptr().cast(), &mut text)
    };
    let text = text.get(..len.unwrap_or(0)).unwrap_or(&[]);
    match text::line(text, b"monotonic") {
        Some(rest) if rest.iter().any(|c| (b'1'..=b'9').contains(c)) => TimeNamespace::WithOffset,
        _ => TimeNamespace::WithoutOffset,
    }
}
