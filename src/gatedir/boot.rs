//! This boot's id, as the control page carries it: deadlines mean nothing in another boot.

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::fs;

/// Where the kernel shows it.
const PATH: &str = "/proc/sys/kernel/random/boot_id";

/// Sixteen bytes.
pub fn id() -> Result<[u8; 16]> {
    let text = fs::read_to_string(PATH).map_err(|e| Fault::io(PATH, &e))?;
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
