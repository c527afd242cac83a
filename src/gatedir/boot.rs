//! This boot's id, as the control page carries it: deadlines mean nothing in another boot.

use crate::linux::clock::wall_ns_of_ticks;
use crate::linux::file::lives_in_memory;
use crate::outcome::fault::{CONFIG, Fault, Result};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

/// Where the kernel shows it.
const PATH: &str = "/proc/sys/kernel/random/boot_id";

/// What a process puts there that cannot see it (ProcSubset=pid).
pub const NOT_SEEN: [u8; 16] = [0; 16];
/// A page that was changed so soon after the boot may be of the boot before.
const DOUBTFUL_S: u64 = 120;

/// Is a page with this id, which is not ours, of this boot all the same? A container may be shown an id
/// of its own, and another process none; but a tmpfs is gone with the boot.
pub fn made_this_page(file: &File, id: &[u8; 16]) -> bool {
    if lives_in_memory(file) {
        return true;
    }
    let booted_s = wall_ns_of_ticks(0) / 1_000_000_000;
    let changed_s = file.metadata().map_or(0, |meta| meta.ctime().max(0) as u64);
    *id == NOT_SEEN && changed_s >= booted_s + DOUBTFUL_S
}

/// Sixteen bytes.
pub fn id() -> Result<[u8; 16]> {
    let text = fs::read_to_string(PATH).map_err(|e| {
        let mut fault = Fault::io(PATH, &e);
        fault.message += match fs::exists("/proc/self") {
            Ok(true) => {
                "; is /proc mounted with subset=pid (ProcSubset=pid)? writegate needs all of it"
            }
            _ => "; /proc is not mounted here: `mount -t proc proc /proc`",
        };
        fault
    })?;
    let digits: Vec<u8> =
        text.bytes().filter_map(|c| (c as char).to_digit(16).map(|d| d as u8)).collect();
    let mut id = [0; 16];
    if digits.len() != 32 {
        return Err(Fault::new(CONFIG, format!("{PATH} does not hold a boot id: is /proc whole?")));
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = digits[at * 2] << 4 | digits[at * 2 + 1];
    }
    Ok(id)
}
