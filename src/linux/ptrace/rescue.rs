//! A seize blocks while the thread's process is in exec; the exec waits until those of its threads
//! that have died are taken; and they are ours to take. A thread beside the tracer does that.

use super::wait;
use crate::linux::clock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

/// A seize that takes longer than this is blocked.
const BLOCKED_NS: u64 = 2_000_000;
/// Between two looks whether one is.
const LOOK_NS: u64 = 1_000_000;

/// What the tracer and the thread share.
#[derive(Default)]
pub struct Rescue {
    /// When the seize under way began; 0: none is.
    since: AtomicU64,
    /// The threads that are ours, or were.
    ours: Mutex<Vec<i32>>,
    /// Those that were taken meanwhile.
    taken: Mutex<Vec<i32>>,
}

fn locked(list: &Mutex<Vec<i32>>) -> std::sync::MutexGuard<'_, Vec<i32>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rescue {
    /// Starts the thread. It ends with the process.
    pub fn start() -> std::io::Result<Arc<Rescue>> {
        let rescue = Arc::new(Rescue::default());
        let shared = rescue.clone();
        std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            loop {
                clock::sleep_ns(LOOK_NS);
                shared.look();
            }
        })?;
        Ok(rescue)
    }

    fn look(&self) {
        let since = self.since.load(SeqCst);
        if since == 0 || clock::now_ns() < since + BLOCKED_NS {
            return;
        }
        let dead: Vec<i32> =
            locked(&self.ours).iter().copied().filter(|tid| wait::take_dead(*tid)).collect();
        locked(&self.taken).extend(dead);
    }

    /// From now on this thread is ours.
    pub fn one_more(&self, tid: i32) {
        locked(&self.ours).push(tid);
    }

    /// Does this, which may block as a seize does.
    pub fn beside<T>(&self, blocks: impl FnOnce() -> T) -> T {
        self.since.store(clock::now_ns(), SeqCst);
        let done = blocks();
        self.since.store(0, SeqCst);
        done
    }

    /// Those that were taken since this was asked last.
    pub fn taken(&self) -> Vec<i32> {
        std::mem::take(&mut locked(&self.taken))
    }
}
