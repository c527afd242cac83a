//! Room in which a pass is judged, so that the judgements cost no more than the processes,
//! their threads and their locks together, whatever a region shows. It is the caller's:
//! this crate allocates nothing.

use crate::view::{LockFile, ProcessView};

/// What is marked of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Is some ancestor what was asked for?
    pub(crate) lineage: Lineage,
    /// An admission of its own is outstanding.
    pub(crate) granted: bool,
    /// Its waits have been followed, or are being.
    pub(crate) followed: bool,
    /// The process whose wait led here; itself: none.
    pub(crate) came_from: usize,
    /// The next of its threads to be looked at.
    pub(crate) thread: usize,
}

/// What is known of a process's ancestors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Lineage {
    /// Nothing yet.
    #[default]
    Unknown,
    /// On the way that is being climbed now: seen again, it is a circle.
    Climbing,
    /// None of them is it.
    Without,
    /// One of them is.
    With,
}

/// A process that holds a lock file. In the first entry of a file stands what is known
/// of the file.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub(crate) file: LockFile,
    pub(crate) process: usize,
    /// The next holder of the file to be looked at.
    pub(crate) next: usize,
    /// A waiter that holds it as well, and was therefore passed over.
    pub(crate) skipped: Option<usize>,
}

impl Default for Holder {
    fn default() -> Self {
        Holder { file: LockFile { dev: 0, ino: 0 }, process: 0, next: 0, skipped: None }
    }
}

/// Places for the processes of a pass, and for the locks that they hold.
pub struct Scratch<'a> {
    pub(crate) places: &'a mut [Place],
    pub(crate) holders: &'a mut [Holder],
}

impl<'a> Scratch<'a> {
    /// How many places and holders these processes need.
    pub fn needs(processes: &[ProcessView<'_>]) -> (usize, usize) {
        (processes.len(), processes.iter().map(|p| p.holds.len()).sum())
    }

    /// Room for these processes. None: it is too small ([`Scratch::needs`]).
    pub fn for_pass(
        processes: &[ProcessView<'_>],
        places: &'a mut [Place],
        holders: &'a mut [Holder],
    ) -> Option<Self> {
        let (processes, locks) = Scratch::needs(processes);
        let (places, holders) = (places.get_mut(..processes)?, holders.get_mut(..locks)?);
        Some(Scratch { places, holders })
    }

    /// Marks of every process whether one of its ancestors `is` it: each is climbed to once.
    pub(crate) fn mark_lineage(
        &mut self,
        processes: &[ProcessView<'_>],
        is: impl Fn(usize) -> bool,
    ) {
        self.places.iter_mut().for_each(|place| place.lineage = Lineage::Unknown);
        for start in 0..processes.len() {
            let (mut at, mut known) = (start, Lineage::Without);
            while self.places[at].lineage == Lineage::Unknown {
                self.places[at].lineage = Lineage::Climbing;
                let Some(parent) = processes[at].parent.filter(|at| *at < processes.len()) else {
                    break;
                };
                if is(parent) {
                    known = Lineage::With;
                    break;
                }
                at = parent;
            }
            if matches!(self.places[at].lineage, Lineage::With | Lineage::Without) {
                known = self.places[at].lineage;
            }
            at = start;
            while self.places[at].lineage == Lineage::Climbing {
                self.places[at].lineage = known;
                match processes[at].parent {
                    Some(parent) if parent < processes.len() => at = parent,
                    _ => break,
                }
            }
        }
    }

    /// Puts down, in order, which process holds which lock file.
    pub(crate) fn list_holders(&mut self, processes: &[ProcessView<'_>]) {
        let held = processes.iter().enumerate().flat_map(|(process, p)| {
            p.holds.iter().map(move |file| Holder { file: *file, process, ..Holder::default() })
        });
        for (holder, found) in self.holders.iter_mut().zip(held) {
            *holder = found;
        }
        self.holders.sort_unstable_by_key(|h| (h.file.dev, h.file.ino, h.process));
        for (at, holder) in self.holders.iter_mut().enumerate() {
            holder.next = at;
        }
    }

    /// The first entry of a file.
    pub(crate) fn first_holder(&self, file: LockFile) -> Option<usize> {
        let before = |h: &Holder| (h.file.dev, h.file.ino) < (file.dev, file.ino);
        let at = self.holders.partition_point(before);
        (self.holders.get(at)?.file == file).then_some(at)
    }
}
