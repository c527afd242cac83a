//! Patterns, as the profile's values have them.

/// Does one pattern match a path?
///
/// ```
/// use gate::profile::glob;
/// assert!(glob(b"*.lock", b"/var/lib/x/dovecot-uidlist.lock"));
/// assert!(glob(b"/var/spool/*/msglog/*", b"/var/spool/exim4/msglog/a/b"));
/// assert!(!glob(b"pid", b"/run/cupid"));
/// ```
pub fn glob(pattern: &[u8], path: &[u8]) -> bool {
    let subject = if pattern.contains(&b'/') {
        path
    } else {
        path.rsplit(|c| *c == b'/').next().unwrap_or(path)
    };
    let (mut p, mut s) = (0, 0);
    // Where to take up again after the last `*`.
    let mut star: Option<(usize, usize)> = None;
    while s < subject.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, s));
                p += 1;
            }
            Some(c) if *c == b'?' || subject.get(s) == Some(c) => {
                p += 1;
                s += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    s = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}
