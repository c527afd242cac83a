//! `/proc/PID/auxv`: what the kernel told a program when it started it. Reading it may hang.

use super::bounded;

/// It has some twenty entries of two words each.
const MOST: usize = 4096;
const AT_NULL: u64 = 0;
const AT_BASE: u64 = 7;

/// Where the kernel has put the loader of a process's program: 0, it has loaded none (a static program, or
/// a loader that was started by its own name). None: that cannot be told.
pub fn loader(pid: i32) -> Option<u64> {
    base(&bounded::bytes(format!("/proc/{pid}/auxv"), MOST).ok()?)
}

/// The same, from the bytes: pairs of words of 64 bits or of 32. The kernel always tells it.
fn base(bytes: &[u8]) -> Option<u64> {
    [8, 4].into_iter().find_map(|word| {
        let number =
            |at: &[u8]| at.iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let mut pairs = bytes.chunks_exact(2 * word).map(|pair| pair.split_at(word));
        let pairs = pairs.by_ref().map(|(key, value)| (number(key), number(value)));
        let told: Vec<_> = pairs.take_while(|(key, _)| *key != AT_NULL).collect();
        told.iter().find(|(key, _)| *key == AT_BASE).map(|(_, value)| *value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_has_a_loader() {
        assert!(loader(std::process::id() as i32).is_some_and(|at| at != 0));
        assert_eq!(loader(0), None);
    }

    #[test]
    fn words_of_both_sizes_are_read() {
        let wide = |pairs: &[u64]| pairs.iter().flat_map(|word| word.to_le_bytes()).collect();
        let narrow = |pairs: &[u32]| pairs.iter().flat_map(|word| word.to_le_bytes()).collect();
        let told: [(Vec<u8>, _); 6] = [
            (wide(&[33, 0x7ff0_0000_0000, 7, 0x7f00_0000_0000, 0, 0]), Some(0x7f00_0000_0000)),
            (wide(&[33, 0x7ff0_0000_0000, 7, 0, 0, 0]), Some(0)),
            (narrow(&[32, 0xf7f0_0000, 7, 0xf7e0_0000, 0, 0]), Some(0xf7e0_0000)),
            (narrow(&[32, 0xf7f0_0000, 7, 0, 0, 0]), Some(0)),
            (wide(&[33, 1, 0, 0, 7, 5]), None),
            (Vec::new(), None),
        ];
        for (bytes, expected) in told {
            assert_eq!(base(&bytes), expected, "{bytes:?}");
        }
    }
}
