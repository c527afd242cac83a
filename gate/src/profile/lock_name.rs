//! Names that lock files have.

/// Does this name look like a lock file (`x.lock`, `.lock`), or (`x.lock.host.pid`) like
/// the hitching post that is linked to one? A message on a host called `mx.lock.example` looks
/// like one too: such a name alone decides nothing.
pub fn lock_like(path: &[u8]) -> Option<LockName> {
    let name = path.rsplit(|c| *c == b'/').next().unwrap_or(path);
    if name.ends_with(b".lock") {
        return Some(LockName::Lock);
    }
    name.windows(6).any(|part| part == b".lock.").then_some(LockName::HitchingPost)
}

/// See [`lock_like`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockName {
    /// The lock itself.
    Lock,
    /// A file that will be linked to it.
    HitchingPost,
}
