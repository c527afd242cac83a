//! `/proc/PID/environ`. Reading it may hang.

use super::bounded;
use std::collections::BTreeMap;
use std::io;

/// So much of them is read: an exec takes 2 MiB (a quarter of the usual stack limit), and a process
/// may tell the kernel of more.
const MOST: usize = 2 << 20;
/// What our variables begin with.
const OURS: &str = "WRITEGATE_";
/// The one that brings the library.
const PRELOAD: &str = "LD_PRELOAD";

/// What matters of a process's environment: its `WRITEGATE_` variables, and LD_PRELOAD.
pub fn read(pid: i32) -> io::Result<BTreeMap<String, String>> {
    bounded::bytes(format!("/proc/{pid}/environ"), MOST).map(|bytes| variables(&bytes))
}

/// The same, from the bytes.
pub fn variables(bytes: &[u8]) -> BTreeMap<String, String> {
    let strings = strings(bytes);
    let pairs = strings.iter().filter_map(|text| text.split_once('='));
    let ours = pairs.filter(|(name, _)| name.starts_with(OURS) || *name == PRELOAD);
    ours.map(|(name, value)| (name.into(), value.into())).collect()
}

/// What lies between the NULs.
pub fn strings(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_kept() {
        let kept = variables(b"HOME=/\0LD_PRELOAD=/x.so:/y.so\0WRITEGATE_GATE=a=b\0nothing\0");
        assert_eq!(kept.len(), 2);
        assert_eq!(
            (kept[PRELOAD].as_str(), kept["WRITEGATE_GATE"].as_str()),
            ("/x.so:/y.so", "a=b")
        );
    }
}
