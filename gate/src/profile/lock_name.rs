//! Names that lock files have.

/// Does this name look like a lock file (`x.lock`, `.lock`), or (`x.lock.host.pid`) like
/// the hitching post that is linked to one? A message on a host called `mx.lock.example` looks
/// like one too: such a name alone decides nothing.
pub fn lock_like(path: &[u8]) -> Option<LockName> {
    if is_lock_name(path) {
        return Some(LockName::Lock);
    }
    let name = path.rsplit(|c| *c == b'/').next().unwrap_or(path);
    name.windows(6).any(|part| part == b".lock.").then_some(LockName::HitchingPost)
}

/// `x.lock`, `.lock`.
pub fn is_lock_name(path: &[u8]) -> bool {
    // Not `ends_with`: asked of every name that a file is made under, and nearly always its last letter decides.
    matches!(path, [.., b'.', b'l', b'o', b'c', b'k'])
}

/// See [`lock_like`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockName {
    /// The lock itself.
    Lock,
    /// A file that will be linked to it.
    HitchingPost,
}
