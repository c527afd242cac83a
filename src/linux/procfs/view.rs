//! Which files a process sees.

use super::task::is_exiting;
use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::process::is_there;
use std::fs;
use std::path::PathBuf;

/// Its root, and its mount namespace: two processes that have both in common see the same files.
pub fn root_and_namespace(pid: i32) -> Look<(PathBuf, PathBuf)> {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}"));
    match link("root").and_then(|root| Ok((root, link("ns/mnt")?))) {
        Ok(found) => Look::Seen(found),
        Err(_) if !is_there(pid) => Look::Gone(Proof::NoProcess),
        Err(_) if is_exiting(pid) => Look::Gone(Proof::Exiting),
        Err(e) => Look::NotSeen(WhyNot::of(&e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_root_see_the_same_and_who_is_not_there_sees_nothing() {
        let (me, parent) = (std::process::id() as i32, nix::unistd::getppid().as_raw());
        assert_eq!(root_and_namespace(me), root_and_namespace(parent));
        assert_eq!(root_and_namespace(i32::MAX), Look::Gone(Proof::NoProcess));
    }
}
