//! Opens what a freeze needs, in the order in which it may be needed, and thaws.

use crate::census::Census;
use crate::drive::barrier;
use crate::drive::cooldown;
use crate::drive::engine::Session;
use crate::drive::run::Run;
use crate::evidence::coverage;
use crate::gatedir::Gate;
use crate::gatedir::in_force;
use crate::linux::helper::Helper;
use crate::linux::helper_child::own_page;
use crate::linux::signals::Signals;
use crate::linux::sys::{self, Membarrier, Pace};
use crate::outcome::fault::{CONFIG, Fault, NOBODY, PERMISSION, Result};
use gate::drain::Answer;
use gate::layout::LAYOUT;
use gate::thaw::{Broken, Thaw, ThawAction};
use std::sync::atomic::Ordering::Acquire;

/// At the thaw, a thread that seems to pass is given this long to show that it
/// only announced itself and retracts.
const LAST_LOOK_NS: u64 = 20_000_000;

/// How a drained gate's freeze ended.
#[derive(Clone, Copy, Debug)]
pub struct Thawed {
    /// The clock after the barrier was down.
    pub opened_at: u64,
    /// Whether it held.
    pub held: std::result::Result<(), Broken>,
}

/// A helper and a first census for these gates, locked or not.
pub fn look_around(gates: &[Gate]) -> Result<(Helper, Census)> {
    look_around_for(gates, None)
}

/// The same; only processes of these users are waited for.
fn look_around_for(gates: &[Gate], users: Option<&[u32]>) -> Result<(Helper, Census)> {
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
    census.users = users.map(|users| users.iter().copied().collect());
    census.scan(&mut helper);
    Ok((helper, census))
}

impl Session {
    /// Opens and locks these gates and looks who is there. Messages go to `note`.
    pub fn open(
        names: &[String],
        queue_ns: u64,
        users: Option<&[u32]>,
        mut note: impl FnMut(String),
    ) -> Result<Session> {
        let mut names = names.to_vec();
        // One order for all freezers, or two of them wait for each other.
        names.sort();
        names.dedup();
        let pace = Pace::now();
        pace.hurry();
        let mut signals = Signals::block()?;
        let mut gates = Vec::new();
        for name in &names {
            let gate = Gate::open(name)?;
            if let Some(odd) = in_force::compare(&gate)? {
                note(odd);
            }
            gates.push(gate);
        }
        for gate in &mut gates {
            let locked = gate.lock(queue_ns, || signals.came().is_some());
            if let Some(signal) = signals.came() {
                return Err(Fault::new(128 + signal as u8, "interrupted; nothing was held"));
            }
            locked?;
        }
        let locked_at = sys::now_ns();
        for gate in &gates {
            if cooldown::lower_left_behind(gate.page.get()) {
                note(format!(
                    "gate {}: the freezer before this one died with the barrier up; it is lowered",
                    gate.name
                ));
            }
        }
        let (helper, census) = look_around_for(&gates, users)?;
        let session = Session {
            gates,
            census,
            helper,
            membarrier: Membarrier::find(),
            signals,
            pace,
            locked_at,
        };
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
            let detached: Vec<String> = self
                .census
                .detached
                .values()
                .filter(|d| d.old_page == Some(at))
                .take(5)
                .map(|d| format!("{} ({})", d.pid, d.comm))
                .collect();
            let mut why = format!(
                "gate {}: no process maps its control page {}: nothing is gated, so nothing was frozen",
                gate.name,
                gate.dir.join("control").display()
            );
            if !detached.is_empty() {
                why += &format!(
                    ". These map a page of it that was replaced since: {}; restart them",
                    detached.join(", ")
                );
            }
            let profile = gate.page.get().profile_text();
            let others: Vec<String> = coverage::other_layouts(&self.census, at, profile)
                .into_iter()
                .take(5)
                .map(|(d, layout)| format!("{} ({}, {})", d.pid, d.comm, layout.name()))
                .collect();
            if !others.is_empty() {
                why += &format!(
                    ". These run another version's library, which does not hear this gate \
                     (layout {LAYOUT:08x}): {}; restart them",
                    others.join(", ")
                );
            }
            if self.census.denied.len() > self.census.seen.len() / 2 {
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
            let weak = |m: &&crate::census::Member| m.view.as_ref().is_some_and(|v| !v.strong());
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
        let mut ends = Vec::new();
        for (at, run) in runs.iter_mut().enumerate() {
            let give_up = sys::now_ns() + LAST_LOOK_NS;
            let mut thaw = Thaw::new(run.last, run.deadline(), give_up);
            let mut answer = Answer::Done(sys::now_ns());
            loop {
                answer = match thaw.next(answer) {
                    ThawAction::Fence => {
                        run.at_thaw(self.membarrier.fence());
                        Answer::Done(sys::now_ns())
                    }
                    ThawAction::Pass => {
                        let seen = self.pass(at, run);
                        Answer::Seen(seen, sys::now_ns())
                    }
                    ThawAction::Pause => {
                        sys::sleep_ns(100_000);
                        self.disregard_sleepers(at, run);
                        Answer::Done(sys::now_ns())
                    }
                    ThawAction::Open | ThawAction::Done(_) => break,
                };
            }
            ends.push(thaw);
        }
        let lower = |(gate, mut thaw): (&Gate, Thaw)| {
            let opened_at = barrier::lower(gate.page.get());
            let held = match thaw.next(Answer::Done(opened_at)) {
                ThawAction::Done(held) => held,
                _ => Err(Broken::Moved),
            };
            Thawed { opened_at, held }
        };
        self.gates.iter().zip(ends).map(lower).collect()
    }

    /// Lowers every barrier, without judging anything.
    pub fn open_all(&self) {
        for gate in &self.gates {
            let page = gate.page.get();
            if page.words().iter().any(|word| word.load(Acquire) != 0) {
                barrier::lower(page);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open_all();
    }
}
