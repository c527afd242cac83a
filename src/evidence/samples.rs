//! For unit tests: a census of one gate, and processes that are the service's or a stranger's.

use crate::census::belonging;
use crate::census::kinds::{ProcessKind, Seen};
use crate::census::list::Census;
use crate::linux::procfs;
use nix::unistd::geteuid;
use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// A user that nobody is.
const NOBODYS: u32 = 4_000_000;
/// A user with no rights (`nobody`).
const STRANGER: u32 = 65_534;

/// This test.
pub fn me() -> i32 {
    std::process::id() as i32
}

/// To its one gate's service belongs what is ours.
pub fn census() -> Census {
    of_one(belonging::Service::new([geteuid().as_raw()], None, ""))
}

/// To its one gate's service belongs root, and what has a user that nobody is.
pub fn census_of_others() -> Census {
    of_one(belonging::Service::new([], Some(&HashSet::from([NOBODYS])), ""))
}

fn of_one(service: belonging::Service) -> Census {
    let mut census = Census::new(vec![service], Vec::new());
    // So that our own children may be the service's.
    census.ours.clear();
    census
}

/// It was looked at, and is this.
pub fn see(census: &mut Census, pid: i32, kind: ProcessKind) {
    let stat = procfs::stat(pid).unwrap();
    let seen = Seen { start: stat.start, image: stat.image, parent: stat.ppid, kind };
    census.seen.insert(pid, seen);
}

/// A process that does not belong to [`census_of_others`].
pub struct Stranger(Child);

impl Stranger {
    pub fn new() -> Stranger {
        let mut sleep = Command::new("sleep");
        sleep.arg("99");
        if geteuid().is_root() {
            sleep.uid(STRANGER);
        }
        Stranger(sleep.spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
