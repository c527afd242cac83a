//! What stands for a function that the program has looked up in libc's own handle.

use super::libc;
use super::symbols::{Scope, Versions, each, gnu_hash};

/// Our export of this name, if `found` lies in libc. An object behind our own that has a function of
/// this name itself stands in front of libc as we do: our export calls it, so it gets libc's, or the
/// two would call each other without end.
pub fn stands_for(found: usize, name: &[u8], caller: usize) -> Option<usize> {
    let (libc, us) = (libc::inside()?, stands_for as *const () as usize);
    let Ok(text) = core::str::from_utf8(name) else { return None };
    let hash = gnu_hash(name, 0, name.len());
    let (mut ours, mut is_libcs) = (None, false);
    each(Scope::All, |object| {
        if object.contains(us) {
            ours = object.find(text, hash, Versions::Default);
            return ours.is_some();
        }
        is_libcs |= object.contains(found) && object.contains(libc);
        if ours.is_some() && object.contains(caller) && object.defines(text, hash) {
            ours = None;
            return false;
        }
        true
    });
    ours.filter(|_| is_libcs)
}
