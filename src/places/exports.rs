//! File systems that this machine's own server shows to others: what those write is made by the kernel
//! for them, and no barrier holds it. NFS: what `exportfs` has put into force, and what the kernel has
//! taken of it; ksmbd: its configuration, since the kernel does not tell.

use super::Places;
use crate::foreign_text::ForeignText;
use crate::linux::directory::{self, NotOpened};
use crate::linux::helper::owner::Helper;
use crate::linux::look::WhyNot;
use crate::linux::procfs::mounts::unescape;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A line for each directory and client: `DIR CLIENT(OPTION,...)`.
const NFS: [&str; 3] =
    ["/var/lib/nfs/etab", "/proc/fs/nfsd/exports", "/proc/net/rpc/nfsd.export/content"];
/// There while the kernel's SMB server runs.
const KSMBD: &str = "/sys/class/ksmbd-control";
/// Its configuration: `path = DIR` in each share.
const SHARES: [&str; 3] =
    ["/etc/ksmbd/ksmbd.conf", "/usr/local/etc/ksmbd/ksmbd.conf", "/etc/ksmbd/smb.conf"];

/// A directory that others are shown, and by what.
type Shown = (PathBuf, &'static str);

impl Places {
    /// Finds out which of the protected directories lie on a file system that is shown to others: who has
    /// one directory of it reaches them all by their handles.
    pub(super) fn look_at_exports(&mut self, helper: &mut Helper) {
        let (shown, unnamed) = self.shown();
        let mut devices: HashSet<(u64, &'static str)> = HashSet::new();
        for (dir, by) in shown {
            let id =
                |(_, fd)| directory::id(&fd).map_err(|e| NotOpened::Why(WhyNot::Errno(e as i32)));
            match helper.open(0, &dir).and_then(id) {
                Ok((dev, _)) => drop(devices.insert((dev, by))),
                // One that is not there is shown to nobody.
                Err(why) if why.is_absence() => {}
                Err(why) => self.not_looked_at.push((ForeignText::of_path(&dir), why)),
            }
        }
        let mut exported = Vec::new();
        for place in self.all() {
            let by = devices.iter().find(|(dev, _)| *dev == place.id.0).map(|(_, by)| *by);
            exported.extend(by.or(unnamed).map(|by| (ForeignText::of_path(&place.path), by)));
        }
        self.exported = exported;
    }

    /// All of them; and by what others are shown directories that nobody names.
    fn shown(&mut self) -> (Vec<Shown>, Option<&'static str>) {
        let mut shown = Vec::new();
        for file in NFS {
            match fs::read(file) {
                Ok(text) => {
                    let lines = text.split(|byte| *byte == b'\n').filter_map(nfs);
                    shown.extend(lines.map(|dir| (dir, "NFS")));
                }
                // That server is not there.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => {
                    let why = NotOpened::Why(WhyNot::of(&e));
                    self.not_looked_at.push((file.into(), why));
                }
            }
        }
        let mut unnamed = None;
        if Path::new(KSMBD).exists() {
            let shares = SHARES.iter().find_map(|file| fs::read_to_string(file).ok());
            match shares {
                Some(text) => {
                    shown.extend(text.lines().filter_map(share).map(|dir| (dir, "ksmbd")));
                }
                None => unnamed = Some("ksmbd"),
            }
        }
        (shown, unnamed)
    }
}

/// The directory of a line, if its clients may write.
fn nfs(line: &[u8]) -> Option<PathBuf> {
    let end = line.iter().position(|byte| matches!(byte, b'\t' | b' '))?;
    let (dir, clients) = line.split_at(end);
    let is_word = |byte: &u8| matches!(byte, b'(' | b',' | b')');
    let only_read = clients.split(is_word).any(|option| option == b"ro");
    let some_write = clients.split(is_word).any(|option| option == b"rw");
    (dir.starts_with(b"/") && (some_write || !only_read))
        .then(|| OsString::from_vec(unescape(dir)).into())
}

/// The directory of a share.
fn share(line: &str) -> Option<PathBuf> {
    let (key, value) = line.split_once('=')?;
    (key.trim() == "path").then(|| value.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_read_and_one_that_is_only_read_does_not_count() {
        let line = b"/srv/my\\040mail\t192.168.0.0/24(rw,sync,no_subtree_check,sec=sys,rw,secure)";
        assert_eq!(nfs(line), Some("/srv/my mail".into()));
        assert_eq!(nfs(b"/srv\t*(ro,sync) 10.0.0.1(rw,sync)"), Some("/srv".into()));
        assert_eq!(nfs(b"/srv\t*(ro,sync,sec=sys,ro)"), None);
        assert_eq!(nfs(b"# Path Client(Flags) # IPs"), None);
        assert_eq!(nfs(b""), None);
        assert_eq!(share("  path = /srv/mail"), Some("/srv/mail".into()));
        assert_eq!(share("comment = a path"), None);
    }
}
