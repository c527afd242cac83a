//! LD_PRELOAD, with and without the library.

/// The library's name.
pub const LIBRARY: &str = "libwritegate.so";

/// `LD_PRELOAD` without our library; None: nothing is left.
pub fn without_us(value: &str) -> Option<String> {
    let others: Vec<&str> = value
        .split([':', ' '])
        .filter(|part| !part.is_empty() && !part.ends_with(LIBRARY))
        .collect();
    (!others.is_empty()).then(|| others.join(":"))
}

#[cfg(test)]
mod tests {
    use super::without_us;

    #[test]
    fn the_command_keeps_other_preloads() {
        let both = "/usr/lib/libwritegate.so:/usr/lib/libother.so";
        assert_eq!(without_us(both).as_deref(), Some("/usr/lib/libother.so"));
        assert_eq!(without_us("/x/libwritegate.so"), None);
    }
}
