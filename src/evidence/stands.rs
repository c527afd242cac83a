//! Do the protected directories stand where the service looks for them, and nothing else, as long as the gate is
//! closed?
//!
//! A copy is made by names. Where something is mounted over a directory for a while, or below it, or taken away
//! from there, other files are copied than those that were held; and of none of them a change is told.

use crate::linux::directory::{self, NotOpened};
use crate::linux::look::WhyNot;
use crate::linux::poll;
use crate::linux::process::is_there;
use crate::linux::procfs;
use crate::linux::procfs::mounts::{self, Shown};
use crate::places::kind::Kind;
use crate::places::{Place, Places};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// A machine may have 100,000 mounts (fs.mount-max): some 200 bytes each.
const MOST: u64 = 32 << 20;

/// A mount: its number, where it is, of which device it shows something.
type Mounted = (u64, PathBuf, (u32, u32));

/// The directories, by who sees them.
#[derive(Default)]
pub struct Stands {
    views: Vec<View>,
}

/// One mount namespace, with a root in it.
struct View {
    /// Its list, which stays this namespace's whoever ends; it is urgent when something was mounted or taken
    /// away since that was asked.
    list: File,
    /// The same, to be waited for: whoever is woken has asked it.
    wakes: File,
    /// The protected directories, and of which gate.
    dirs: Vec<(usize, PathBuf)>,
    /// What is mounted above, at and below them.
    mounts: BTreeSet<Mounted>,
}

impl Stands {
    /// As they are: every other answer later is a change.
    pub fn note(places: &[Places]) -> io::Result<Stands> {
        let mut seen: BTreeMap<i32, Vec<(usize, PathBuf)>> = BTreeMap::new();
        for (gate, place) in places
            .iter()
            .enumerate()
            .flat_map(|(gate, places)| places.dirs.iter().map(move |place| (gate, place)))
        {
            seen.entry(place.seen_by).or_default().push((gate, place.path.clone()));
        }
        let mut views = Vec::new();
        for (pid, dirs) in seen {
            match View::of(pid, dirs) {
                Ok(view) => views.push(view),
                // What it saw nobody sees any more.
                Err(_) if pid != 0 && (!is_there(pid) || procfs::is_exiting(pid)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Stands { views })
    }

    /// Urgent when something was mounted or taken away.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.views.iter().map(|view| view.wakes.as_fd()).collect()
    }

    /// Where something else is mounted than at first, and of which gate that is. Almost always it is told at
    /// once that nothing has changed anywhere.
    pub fn look(&self) -> io::Result<Vec<(usize, PathBuf)>> {
        let mut found = Vec::new();
        for view in self.views.iter().filter(|view| poll::is_urgent(view.list.as_fd())) {
            let now = view.read()?;
            for (_, point, _) in now.symmetric_difference(&view.mounts) {
                let of = view.dirs.iter().filter(|(_, dir)| concerns(point, dir));
                found.extend(of.map(|(gate, _)| (*gate, point.clone())));
            }
        }
        Ok(found)
    }
}

impl View {
    fn of(pid: i32, dirs: Vec<(usize, PathBuf)>) -> io::Result<View> {
        let pid = if pid == 0 { std::process::id() as i32 } else { pid };
        let open = || File::open(format!("/proc/{pid}/mountinfo"));
        let mut view = View { list: open()?, wakes: open()?, dirs, mounts: BTreeSet::new() };
        view.mounts = view.read()?;
        Ok(view)
    }

    fn read(&self) -> io::Result<BTreeSet<Mounted>> {
        let (mut list, mut text) = (&self.list, Vec::new());
        list.rewind()?;
        list.take(MOST).read_to_end(&mut text)?;
        if text.len() as u64 == MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mounts = mounts::all_told_by(&text).into_iter();
        let concern = |mount: &Shown| self.dirs.iter().any(|(_, dir)| concerns(&mount.point, dir));
        Ok(mounts.filter(concern).map(|one| (one.number, one.point, one.device)).collect())
    }
}

/// Is what stands at this name, or below it, another thing by a mount here?
///
/// Where everything is protected, not every mount speaks against the snapshot: its own is mounted somewhere, too, and
/// somebody logs in.
fn concerns(point: &Path, dir: &Path) -> bool {
    let is_below = dir != Path::new("/") && point.starts_with(dir);
    dir.starts_with(point) || is_below && !is_a_snapshot_of_zfs(point)
}

/// ZFS mounts each of its snapshots by itself as soon as somebody looks into it.
fn is_a_snapshot_of_zfs(point: &Path) -> bool {
    point.parent().is_some_and(|above| above.ends_with(".zfs/snapshot"))
}

/// Does another directory stand where this one was found, or none? An error: that cannot be told.
pub fn stands_elsewhere(place: &Place) -> Result<bool, WhyNot> {
    // A file system that may not answer any more is not asked.
    if !matches!(place.kind, Kind::Local | Kind::Btrfs) {
        return Ok(false);
    }
    let root = match place.seen_by {
        0 => PathBuf::from("/"),
        pid => PathBuf::from(format!("/proc/{pid}/root")),
    };
    match directory::open(&root, &place.path) {
        Ok((_, dir)) => Ok(directory::id(dir).map_err(|e| WhyNot::Errno(e as i32))? != place.id),
        Err(NotOpened::RootGone) => Ok(false),
        Err(NotOpened::Why(why)) if !NotOpened::Why(why).is_absence() => Err(why),
        Err(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_concerns_what_lies_above_and_below_and_not_beside() {
        let dir = Path::new("/srv/mail");
        let concern = |point: &str| concerns(Path::new(point), dir);
        assert!(
            concern("/") && concern("/srv") && concern("/srv/mail") && concern("/srv/mail/bob")
        );
        assert!(!concern("/srv/mailman") && !concern("/mnt/snapshot"));
        assert!(!concern("/srv/mail/.zfs/snapshot/monday") && concern("/srv/mail/.zfs"));
        let everything = Path::new("/");
        assert!(concerns(everything, everything) && !concerns(Path::new("/mnt"), everything));
    }

    #[test]
    fn nothing_is_told_where_nothing_was_mounted() {
        assert!(Stands::note(&[Places::default()]).unwrap().look().unwrap().is_empty());
        let view = View::of(0, vec![(0, "/proc".into())]).unwrap();
        assert!(view.mounts.iter().any(|(_, point, _)| point == Path::new("/proc")));
        assert_eq!(view.read().unwrap(), view.mounts);
    }
}
