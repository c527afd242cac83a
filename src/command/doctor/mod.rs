//! `writegate doctor`: who is gated, who is not, why, and the cure.
//!
//! | module | duty |
//! |---|---|
//! | [`select`] | which processes the service consists of |
//! | [`facts`], [`elf`], [`apart`] | what is to be seen of one process; in a child, since looking may hang |
//! | [`reason`], [`unloaded`] | what the facts mean: one sentence and its cure |
//! | [`unit`] | what the unit's settings mean here |
//! | [`rights`] | what we ourselves may not do |
//! | [`show`] | the table and the JSON |
//! | [`calls`] | the table of hooked calls |

mod apart;
mod calls;
mod elf;
mod facts;
mod reason;
mod rights;
mod select;
mod show;
pub mod unit;
mod unloaded;

use crate::census::ProcessKind;
use crate::evidence::{coverage, places::Places, writers};
use crate::freeze::Options;
use crate::freeze::session::look_around;
use crate::gatedir::other_layout::OtherLayout;
use crate::gatedir::{self, Gate};
use crate::linux::helper_child::own_page;
use crate::outcome::fault::{self, Fault, Result};
use facts::Facts;
use gate::layout::{FORMAT, LAYOUT};
use reason::{Around, Judgement, RegionSeen, State};
use select::Target;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long a look at one process, or at one program's text, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Say who is gated, who is not, why, and the cure
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate doctor -g mail
  writegate doctor dovecot.service
  writegate doctor --pid 1234

Exit codes: 0 a freeze could be trusted; 65 somebody is not gated; 69 nobody is there; 77 somebody \
could not be looked into; 78 the gate itself is not as it must be.")]
pub struct Args {
    /// A systemd unit (or cyrus, dovecot, postfix, exim)
    #[arg(value_name = "UNIT", conflicts_with = "pid")]
    unit: Option<String>,
    /// A process, with all its descendants
    #[arg(long, value_name = "PID")]
    pid: Option<i32>,
    /// The gate (default: the one that the processes' environment names)
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Option<String>,
    /// As JSON (schema 1)
    #[arg(long)]
    json: bool,
    /// Print the table of hooked calls instead
    #[arg(long)]
    calls: bool,
    /// Print the layout of shared memory that this command understands instead
    #[arg(long, hide = true)]
    layout: bool,
    /// Where units and configuration lie, for another root directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Everything that was found.
pub struct Found {
    gate: String,
    directory: String,
    /// Why the gate's page cannot be used.
    page_fault: Option<Fault>,
    processes: Vec<(Facts, Judgement)>,
    /// Units of the processes, and what their settings mean.
    units: BTreeMap<String, Vec<unit::Meaning>>,
    lacks: Vec<rights::Lack>,
    /// Files whose own text changes files past libc: the calls.
    inline: BTreeMap<String, Vec<String>>,
    profile: String,
}

impl Found {
    /// How many are in this state.
    fn count(&self, state: State) -> usize {
        self.processes.iter().filter(|(_, judgement)| judgement.state == state).count()
    }

    /// Could a freeze be trusted?
    fn code(&self) -> u8 {
        if self.processes.is_empty() {
            return self.page_fault.as_ref().map_or(fault::NOBODY, |fault| fault.code);
        }
        if self.count(State::NotGated) > 0 {
            return fault::ESCAPE;
        }
        match &self.page_fault {
            Some(fault) => fault.code,
            None if self.count(State::Unknown) > 0 => fault::PERMISSION,
            None if self.count(State::Gated) == 0 => fault::NOBODY,
            None => 0,
        }
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.calls {
        calls::show(args.json);
        return Ok(0);
    }
    if args.layout {
        super::print(&format!("layout {LAYOUT:08x} format {FORMAT}"));
        return Ok(0);
    }
    let found = look(args)?;
    if args.json {
        show::json(&found);
    } else {
        show::table(&found);
    }
    Ok(found.code())
}

fn look(args: &Args) -> Result<Found> {
    let target = match (&args.unit, args.pid) {
        (Some(unit), _) => Target::Unit(unit.clone()),
        (None, Some(pid)) => Target::Tree(pid),
        (None, None) => Target::Gate,
    };
    let mut pids = select::pids(&target)?;
    let gate = match &args.gate {
        Some(gate) => gate.clone(),
        None => select::gate_of(&pids).unwrap_or_else(|| super::gates(&[]).remove(0)),
    };
    gatedir::check_name(&gate)?;
    let dir = gatedir::root().join(&gate);
    let mut page = Page::of(&gate);
    if target == Target::Gate {
        pids = select::of_gate(&page.regions, &page.detached);
    }
    let mut all = BTreeMap::new();
    let control = dir.join("control");
    for pid in &pids {
        all.insert(*pid, facts_of(*pid, &control));
    }
    // A parent outside the set may explain its child.
    let parents: BTreeSet<i32> = all.values().map(|f: &Facts| f.parent).collect();
    for parent in parents.into_iter().filter(|parent| *parent > 1) {
        all.entry(parent).or_insert_with(|| facts_of(parent, &control));
    }
    let mut units = BTreeMap::new();
    let mut dropins = BTreeMap::new();
    let of_pids = all.values().filter(|f| pids.contains(&f.pid));
    let named: BTreeSet<String> =
        of_pids.filter_map(|f| reason::unit_of(&f.cgroup).map(str::to_owned)).collect();
    for name in named {
        let files = unit::files(&args.root, &name);
        if let Some(written) = files
            .iter()
            .filter(|f| f.file_name().is_some_and(|n| n == "writegate.conf"))
            .find_map(|f| std::fs::metadata(f).ok())
        {
            dropins.insert(name.clone(), ns(written.mtime(), written.mtime_nsec()));
        }
        let settings = unit::settings(&files);
        units.insert(name, unit::meanings(&settings, &dir.to_string_lossy()));
    }
    let message = page.fault.as_ref().map(|fault| fault.message.clone());
    let directory = dir.to_string_lossy().into_owned();
    let around = Around {
        gate: &gate,
        dir: &directory,
        page_fault: message.as_deref(),
        page_layout: page.layout,
        page_ino: page.ino,
        page_made_ns: page.made_ns,
        profile: &page.profile,
        all: &all,
        dropins: &dropins,
        regions: &page.regions,
    };
    let judge = |facts: &Facts| {
        let mut judgement = reason::judge(facts, &around);
        if judgement.state != State::Gated
            && let Some(path) = page.writers.get(&facts.pid)
        {
            judgement.gaps.push(format!("has a protected file open for writing: {path}"));
        }
        judgement
    };
    let processes: Vec<_> = pids
        .iter()
        .filter_map(|pid| all.get(pid))
        .filter(|facts| !facts.program.is_empty())
        .map(|facts| (facts.clone(), judge(facts)))
        // Gates of this name in other directories are none of this one's business.
        .filter(|(_, judgement)| target != Target::Gate || judgement.cause != "other-gate")
        .collect();
    let inline = inline(&processes);
    Ok(Found {
        gate,
        directory,
        page_fault: page.fault.take(),
        processes,
        units,
        lacks: rights::lacks(),
        inline,
        profile: page.profile,
    })
}

fn ns(seconds: i64, ns: i64) -> u64 {
    (seconds.max(0) as u64) * 1_000_000_000 + ns.max(0) as u64
}

fn facts_of(pid: i32, control: &Path) -> Facts {
    apart::run(PATIENCE, || facts::of(pid, control)).unwrap_or_else(|| {
        let stat = crate::linux::procfs::stat(pid);
        Facts {
            pid,
            program: stat.map(|s| s.comm).unwrap_or_default(),
            hung: true,
            ..Facts::default()
        }
    })
}

/// The gate's page and who maps it.
struct Page {
    fault: Option<Fault>,
    layout: Option<u32>,
    ino: u64,
    made_ns: u64,
    profile: String,
    regions: BTreeMap<i32, RegionSeen>,
    /// Have the library, or an old page of this gate.
    detached: Vec<i32>,
    /// Not gated, and have this protected file open for writing.
    writers: BTreeMap<i32, String>,
}

impl Page {
    fn of(name: &str) -> Page {
        let mut page = Page {
            fault: None,
            layout: None,
            ino: 0,
            made_ns: 0,
            profile: String::new(),
            regions: BTreeMap::new(),
            detached: Vec::new(),
            writers: BTreeMap::new(),
        };
        if let Err(fault) = page.look(name) {
            page.fault = Some(fault);
            if let Some(other) = OtherLayout::of(&gatedir::root().join(name).join("control")) {
                page.layout = Some(other.layout);
                page.ino = other.ino;
                page.detached = other.mapped_by.iter().map(|(pid, _)| *pid).collect();
            }
        }
        page
    }

    fn look(&mut self, name: &str) -> Result<()> {
        let gate = Gate::open_to_read(name)?;
        // As maps names it: on an overlay, stat shows another inode.
        self.ino = own_page(gate.page.address()).map_or(0, |page| page.ino);
        if let Ok(meta) = std::fs::metadata(gate.dir.join("control")) {
            let made = meta.created().ok();
            self.made_ns = made
                .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
                .map_or(0, |since| since.as_nanos() as u64);
        }
        self.profile = gate.page.get().profile_text().to_owned();
        let gates = [gate];
        let (mut helper, census) = look_around(&gates)?;
        for member in census.alive(0) {
            let seen = match (&member.view, member.denied) {
                (Some(view), _) => {
                    let header = view.header();
                    let missing = header.missing.iter().map(|at| at.load(Relaxed));
                    let missing = missing.filter(|call| *call != 0);
                    let names = missing.map(|call| gate::calls::name(call as u16)).collect();
                    RegionSeen::Good(header.flags.load(Relaxed), names)
                }
                (None, Some(error)) => RegionSeen::Denied(error),
                (None, None) if member.fresh_fork => RegionSeen::Unborn,
                (None, None) => RegionSeen::None,
            };
            self.regions.insert(member.pid, seen);
        }
        for (pid, seen) in &census.seen {
            if seen.kind == ProcessKind::Sharing {
                self.regions.insert(*pid, RegionSeen::Shared);
            }
        }
        let ours = census.detached.values().filter(|detached| detached.old_page.is_some());
        self.detached = ours.map(|detached| detached.pid).collect();
        // With the library and no page at all: only those that name this gate, or none.
        let silent = census.detached.values().filter(|detached| detached.old_page.is_none());
        self.detached.extend(silent.map(|d| d.pid).filter(|pid| select::asks_for(*pid, name)));
        let page = gates[0].page.get();
        let others = coverage::other_layouts(&census, 0, page.profile_text());
        self.detached.extend(others.into_iter().map(|(d, _)| d.pid));
        // What a freeze would hold against its snapshot must not be green here.
        self.detached
            .extend(coverage::ungated(&census, 0).into_iter().map(|outsider| outsider.pid));
        let options = Options { paths: super::freeze::paths(None)?, ..Options::default() };
        let places = Places::of(&gates[0], &census, 0, &mut helper, &options);
        for finding in writers::ungated_writers(&census, &places) {
            if let (Some(pid), Some(path)) = (finding.pid, finding.path) {
                self.detached.push(pid);
                self.writers.entry(pid).or_insert(path);
            }
        }
        Ok(())
    }
}

/// System calls in the programs' own texts, and in their libraries'.
fn inline(processes: &[(Facts, Judgement)]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (facts, _) in processes {
        for text in facts.texts.iter().filter(|text| !is_libc(text)) {
            if !seen.insert(text.clone()) {
                continue;
            }
            let inside = PathBuf::from(format!("/proc/{}/root{text}", facts.pid));
            let calls = apart::run(PATIENCE, || elf::inline_calls(&inside)).unwrap_or_default();
            if !calls.is_empty() {
                found.insert(text.clone(), calls);
            }
        }
    }
    found
}

/// libc's own text is what the hooks stand in front of.
fn is_libc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["libc.so", "libc-2", "ld-", "ld.so", "libpthread", "librt", "libc.musl"]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}
