//! Is the control page's clock this process's: the same boot, the same time namespace?

use crate::linux::files::read_file;
use crate::linux::signals::Blocked;
use crate::linux::time::now;
use crate::text;
use crate::this_process::state::{control, set_region_flag};
use core::sync::atomic::Ordering::Relaxed;
use gate::control::ControlPage;
use gate::region::FLAG_FOREIGN_CLOCK;
use once_cell::race::OnceBool;

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

/// Does a deadline on this gate's page mean nothing here? Asked at a closed barrier: the
/// answer costs two looks into /proc, most processes never meet one, and it is kept.
pub fn is_foreign() -> bool {
    static FOREIGN: OnceBool = OnceBool::new();
    FOREIGN.get_or_init(|| {
        let foreign = control().is_none_or(is_foreign_to);
        if foreign {
            set_region_flag(FLAG_FOREIGN_CLOCK);
        }
        foreign
    })
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
    // In a chroot without /proc there is no answer, and no namespace was entered.
    time_namespace_has_offset() || control.boot_id != boot_id(&Blocked::all()) && of_the_future()
}

/// Deadlines are absolute: under another clock they mean nothing.
fn time_namespace_has_offset() -> bool {
    let mut text = [0u8; 128];
    // SAFETY: a literal C string.
    let len = unsafe {
        read_file(&Blocked::all(), c"/proc/self/timens_offsets".as_ptr().cast(), &mut text)
    };
    let text = text.get(..len.unwrap_or(0)).unwrap_or(&[]);
    text::line(text, b"monotonic")
        .is_some_and(|rest| rest.iter().any(|c| (b'1'..=b'9').contains(c)))
}
