//! Can anybody but root change a file that root's services are to load, and can they read it?

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const OTHERS_WRITE: u32 = 0o022;
const OTHERS_READ: u32 = 0o004;
const OTHERS_SEARCH: u32 = 0o001;
const STICKY: u32 = 0o1000;

/// Refuses a file below a root directory that others can change, or that a service's user cannot
/// read. Whoever owns the root directory (an image that a user builds) counts as root does.
pub fn check(root: &Path, file: &Path) -> Result<()> {
    let Some(what) = obstacle(root, file) else { return Ok(()) };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (dir, mode) =
        if name.ends_with(".so") { ("/usr/local/lib", 644) } else { ("/usr/local/bin", 755) };
    Err(Fault::new(
        CONFIG,
        format!(
            "{} {what}, and root's services are to load it: not used. Install it first, and run \
             `writegate` from there: install -m {mode} {} {dir}/",
            file.display(),
            file.display()
        ),
    ))
}

/// What stands against it, to follow its path in a sentence.
fn obstacle(root: &Path, file: &Path) -> Option<String> {
    let owner = root.metadata().map_or(0, |meta| meta.uid());
    // Both the name as it was given and what it leads to can be changed.
    let real = file.canonicalize().ok()?;
    let whole: Vec<PathBuf> = [file, &real]
        .iter()
        .flat_map(|path| path.ancestors())
        .filter(|path| path.starts_with(root) && *path != root && !path.as_os_str().is_empty())
        .map(PathBuf::from)
        .collect();
    whole.iter().find_map(|path| {
        let meta = path.metadata().ok()?;
        let of_path = of_one(&meta, owner, path == file || *path == real)?;
        let place = if path == file { String::new() } else { format!(" ({})", path.display()) };
        Some(format!("{of_path}{place}"))
    })
}

fn of_one(meta: &Metadata, owner: u32, is_file: bool) -> Option<&'static str> {
    let mode = meta.mode();
    let strange = meta.uid() != 0 && meta.uid() != owner;
    // In a sticky directory nobody can replace what is another's.
    let sticky = !is_file && mode & STICKY != 0;
    if strange {
        Some("belongs to a user who is not root")
    } else if mode & OTHERS_WRITE != 0 && !sticky {
        Some("can be changed by users who are not root")
    } else if mode & (if is_file { OTHERS_READ } else { OTHERS_SEARCH }) == 0 {
        Some("cannot be read by a service's user")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn who_else_can_change_it_or_cannot_read_it() {
        let root = std::env::temp_dir().join(format!("writegate-trust-{}", std::process::id()));
        let dir = root.join("lib");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("libwritegate.so");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let said = |dir_mode, file_mode| {
            set(&dir, dir_mode);
            set(&file, file_mode);
            set(&root, 0o700);
            obstacle(&root, &file).unwrap_or_default()
        };
        assert_eq!(said(0o755, 0o644), "");
        assert_eq!(said(0o755, 0o4755), "");
        assert!(said(0o775, 0o644).contains("can be changed by users who are not root ("));
        assert_eq!(said(0o1777, 0o644), "", "sticky");
        assert_eq!(said(0o755, 0o666), "can be changed by users who are not root");
        assert!(said(0o700, 0o644).contains("cannot be read"));
        assert!(said(0o755, 0o600).contains("cannot be read"));
        set(&dir, 0o755);
        fs::remove_dir_all(&root).unwrap();
    }
}
