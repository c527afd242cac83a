//! Opens what a freeze needs, in the order in which it may be needed, and thaws.

use super::barrier;
use super::census::Census;
use super::engine::{Run, Session};
use super::fault::{CONFIG, Fault, NOBODY, PERMISSION, Result};
use super::gatedir::Gate;
use super::helper::Helper;
use super::helper_child::own_page;
use super::rest;
use super::signals::Signals;
use super::sys::{self, Membarrier};
use gate::drain::{Broken, Summary, held_to_the_end};

/// How a drained gate's freeze ended.
#[derive(Clone, Copy, Debug)]
pub struct Thawed {
    /// The last pass before the opening.
    pub before: Summary,
    /// The clock after the barrier was down.
    pub opened_at: u64,
    /// Whether it held.
    pub held: std::result::Result<(), Broken>,
}

/// A helper and a first census for these gates, locked or not.
pub fn look_around(gates: &[Gate]) -> Result<(Helper, Census)> {
    let mut pages = Vec::new();
    for gate in gates {
        pages.push(own_page(gate.page.address()).ok_or_else(|| {
            Fault::new(
                CONFIG,
                "our own /proc/self/maps does not show the control page: is /proc whole?",
            )
        })?);
    }
    let mut helper = Helper::new(pages)?;
    let mut census = Census::new(gates.len());
    census.scan(&mut helper);
    Ok((helper, census))
}

impl Session {
    /// Opens and locks these gates and looks who is there. Messages go to `note`.
    pub fn open(names: &[String], queue_ns: u64, mut note: impl FnMut(String)) -> Result<Session> {
        let mut names = names.to_vec();
        // One order for all freezers, or two of them wait for each other.
        names.sort();
        names.dedup();
        let mut signals = Signals::block()?;
        let mut gates = Vec::new();
        for name in &names {
            gates.push(Gate::open(name)?);
        }
        for gate in &mut gates {
            gate.lock(queue_ns, || signals.came().is_some())?;
        }
        for gate in &gates {
            if rest::lower_left_behind(gate.page.get()) {
                note(format!(
                    "gate {}: the freezer before this one died with the barrier up; it is lowered",
                    gate.name
                ));
            }
        }
        let (helper, census) = look_around(&gates)?;
        let session = Session { gates, census, helper, membarrier: Membarrier::find(), signals };
        session.somebody_is_there()?;
        session.fence_reaches_all()?;
        Ok(session)
    }

    /// A freeze of nobody is never a silent success.
    pub fn somebody_is_there(&self) -> Result<()> {
        for (at, gate) in self.gates.iter().enumerate() {
            if self.census.alive(at).next().is_some() {
                continue;
            }
            let deaf: Vec<String> = self
                .census
                .deaf
                .values()
                .take(5)
                .map(|d| format!("{} ({})", d.pid, d.comm))
                .collect();
            let mut why = format!(
                "gate {}: no process maps its control page {}: nothing is gated, so nothing was frozen",
                gate.name,
                gate.dir.join("control").display()
            );
            if !deaf.is_empty() {
                why += &format!(
                    ". These have the library and hear another page or none: {}; restart them",
                    deaf.join(", ")
                );
            }
            if !self.census.denied.is_empty() && sys::euid() == 0 {
                why += &format!(
                    ". {} processes could not be looked into: run on the host, or with \
                     CAP_SYS_PTRACE",
                    self.census.denied.len()
                );
                return Err(Fault::new(PERMISSION, why));
            }
            return Err(Fault::new(NOBODY, why));
        }
        Ok(())
    }

    /// Without membarrier, only regions that announce by `xchg` can be read.
    fn fence_reaches_all(&self) -> Result<()> {
        if self.membarrier != Membarrier::None {
            return Ok(());
        }
        for at in 0..self.gates.len() {
            let weak = |m: &&super::census::Member| m.view.as_ref().is_some_and(|v| !v.strong());
            if let Some(member) = self.census.alive(at).find(weak) {
                return Err(Fault::new(
                    CONFIG,
                    format!(
                        "this kernel (or a seccomp filter) has no membarrier, and pid {} ({}) \
                         relies on it: restart the service where membarrier is refused to it too, \
                         or allow it to writegate",
                        member.pid, member.stat.comm
                    ),
                ));
            }
        }
        Ok(())
    }

    /// One more pass over everything, then lowers every barrier, then reads the clock.
    pub fn thaw(&mut self, runs: &mut [Run]) -> Vec<Thawed> {
        let drained: Vec<Summary> = runs.iter().map(|run| run.last).collect();
        let mut before = Vec::new();
        for (at, run) in runs.iter_mut().enumerate() {
            before.push(self.pass(at, run));
        }
        let mut opened = Vec::new();
        for gate in &self.gates {
            opened.push(barrier::lower(gate.page.get()));
        }
        (0..runs.len())
            .map(|at| Thawed {
                before: before[at],
                opened_at: opened[at],
                held: held_to_the_end(drained[at], before[at], runs[at].deadline(), opened[at]),
            })
            .collect()
    }

    /// Lowers every barrier, without judging anything.
    pub fn open_all(&self) {
        for gate in &self.gates {
            if gate.page.get().barrier.load(std::sync::atomic::Ordering::Acquire) != 0 {
                barrier::lower(gate.page.get());
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open_all();
    }
}
