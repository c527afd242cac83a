//! Spreading bits, where a few of them must stand for a whole number.

/// Multiplies by 2^64 divided by the golden ratio: the high bits of the result depend on all
/// bits of the number (Fibonacci hashing).
pub const fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
