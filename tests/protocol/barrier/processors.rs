//! The processors that a run is given: one for the freezer and another for its workers, where that is allowed,
//! and how long they waited for them nevertheless.
//!
//! A fault that only two processors at work at the same time can show is not seen on a machine whose processors
//! do something else. So whoever has not seen it asks for processors of its own, and who did not get them has
//! judged nothing.

use std::fs;
use std::time::Instant;

/// Waited for a processor, or was robbed of it, for more than this share of the time: a run that says nothing.
const TOO_BUSY: f64 = 0.2;

/// Until this ends the freezer has a processor, and what it starts has the others; before everybody else.
pub struct Apart {
    all: libc::cpu_set_t,
    first: usize,
}

impl Apart {
    /// None: there is one processor only, or that is not allowed.
    pub fn new() -> Option<Self> {
        // SAFETY: the kernel fills the set, which is plain bits; the macros look at it.
        let all = unsafe {
            let mut all: libc::cpu_set_t = std::mem::zeroed();
            let asked = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut all);
            (asked == 0 && libc::CPU_COUNT(&all) > 1).then_some(all)?
        };
        // SAFETY: as above.
        let is_ours = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &all) };
        let first = (0..libc::CPU_SETSIZE as usize).find(is_ours)?;
        // Where it is refused the machine may be quiet all the same.
        set_policy(libc::SCHED_RR, 1);
        let apart = Apart { all, first };
        apart.for_workers();
        Some(apart)
    }

    /// What is started from here on has all processors but the freezer's.
    pub fn for_workers(&self) {
        let mut others = self.all;
        // SAFETY: a bit of a set of bits.
        unsafe { libc::CPU_CLR(self.first, &mut others) };
        stay_on(&others);
    }

    /// This thread is the freezer.
    pub fn for_freezer(&self) {
        // SAFETY: plain bits, all clear; then one of them set.
        let one = unsafe {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(self.first, &mut one);
            one
        };
        stay_on(&one);
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        stay_on(&self.all);
        set_policy(libc::SCHED_OTHER, 0);
    }
}

fn stay_on(set: &libc::cpu_set_t) {
    // SAFETY: the set is read.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
}

fn set_policy(policy: libc::c_int, priority: libc::c_int) {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter is read.
    unsafe { libc::sched_setscheduler(0, policy, &parameter) };
}

/// What freezer and workers had waited for a processor so far.
pub struct Waits {
    begun: Instant,
    files: Vec<(String, u64)>,
    stolen: u64,
}

impl Waits {
    pub fn of(workers: &[i32]) -> Self {
        let files = workers.iter().map(|pid| format!("/proc/{pid}/schedstat"));
        let files = files.chain(["/proc/thread-self/schedstat".to_owned()]);
        let files =
            files.map(|file| (waited_ns(&file), file)).map(|(ns, file)| (file, ns)).collect();
        Waits { begun: Instant::now(), files, stolen: stolen_ticks() }
    }

    /// Too long to judge what was not seen? What is asked while they still live.
    pub fn too_busy(&self) -> Option<String> {
        let took = self.begun.elapsed().as_nanos() as f64;
        let waited =
            self.files.iter().map(|(file, before)| waited_ns(file).saturating_sub(*before));
        // SAFETY: a number.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
        let stolen = (stolen_ticks() - self.stolen) as f64 * 1e9 / per_second;
        let share = waited.max().unwrap_or(0) as f64 / took;
        (share > TOO_BUSY || stolen / took > TOO_BUSY).then(|| {
            format!(
                "the machine was too busy to judge: {:.0} % of the time was spent waiting for a processor, {:.0} % \
                 was taken by the machine below",
                share * 100.0,
                stolen / took * 100.0
            )
        })
    }
}

/// The second number: how long it was ready and had no processor.
fn waited_ns(file: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Of all processors together, since the start of the machine.
fn stolen_ticks() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    text.split_ascii_whitespace().nth(8).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}
