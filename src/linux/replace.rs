//! New contents in a file's place, in one step: whoever reads it sees the old or the new, never half.

use super::file;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Everybody may read it.
pub const READABLE: u32 = 0o644;
/// Its owner alone may read it.
pub const PRIVATE: u32 = 0o600;

/// Puts `bytes` in place of what is at `path`. `mode` holds whatever the umask; that may take more away.
///
/// The directory may be another user's: the new file is made under a name that cannot be guessed, and only if
/// nothing is there, so that nothing is written through a link that was laid in its way.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let number = file::random().unwrap_or_else(|| u64::from(std::process::id()));
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".new-{number:016x}"));
    let beside = path.with_file_name(hidden);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(bytes)
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| drop(fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_link_is_replaced_and_never_written_through() {
        let dir =
            std::env::temp_dir().join(format!("writegate-test-replace-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (target, link) = (dir.join("target"), dir.join("link"));
        fs::write(&target, "target's own").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"target's own");
        assert_eq!(fs::read(&link).unwrap(), b"new");
        assert_eq!(fs::symlink_metadata(&link).unwrap().mode() & 0o7777, PRIVATE);
        assert!(replace(&dir, b"over a directory", READABLE).is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing is left beside");
        fs::remove_dir_all(dir).unwrap();
    }
}
