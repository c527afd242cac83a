//! What a gate may be called. The library and the command take the same names: a process behind a gate
//! that nobody can name would be held by nobody.

/// Longest name.
pub const NAME_MAX: usize = 64;

/// Is this a name that a gate may have?
pub fn is_name(name: &[u8]) -> bool {
    let good =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name.first() != Some(&b'.')
        && name.iter().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_that_is_no_path() {
        for good in [&b"mail"[..], b"postfix@-", b"a.b_c-1", &[b'x'; NAME_MAX]] {
            assert!(is_name(good));
        }
        for bad in [&b""[..], b".", b"..", b"a/b", b"my mail", b"mail\r", b"mail:post", b"\xc3\xa9"]
        {
            assert!(!is_name(bad));
        }
        assert!(!is_name(&[b'x'; NAME_MAX + 1]));
    }
}
