//! For unit tests: a child that does nothing, and does it already.
//!
//! A child that has just been started is still in the middle of its exec: its stack's place, its name and its
//! descriptors change for a while yet, on a busy machine for long. Who looks at it at once sees another image
//! than a moment later.

use super::stat;
use crate::linux::clock;
use std::process::{Child, Command};

/// A `sleep` that has come to rest. It ends with this value.
pub struct Sleeper(Child);

impl Sleeper {
    pub fn new() -> Self {
        let child = Command::new("sleep").arg("99").spawn().unwrap();
        let pid = child.id() as i32;
        let rests = || {
            let stat = stat(pid).unwrap();
            stat.in_place && stat.state == 'S' && stat.comm.to_string() == "sleep"
        };
        while !rests() {
            clock::sleep_ns(1_000_000);
        }
        Sleeper(child)
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Ends it, and waits until it is there no more.
    pub fn end(self) {}
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Also of a test that has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
