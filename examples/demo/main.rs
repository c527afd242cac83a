//! What `scripts/demo` runs: a small mail store of several processes, copied while it works, without the
//! gate (most copies are torn) and with it (none is). Needs no root, and no program but `cp`.
//!
//! | module | duty |
//! |---|---|
//! | [`store`] | the mail store: one delivery is a set of changes under one lock |
//! | [`check`] | contradictions in a copy of it |
//! | [`workers`] | the processes that deliver |
//! | [`chain`] | freezes that are the workers' ancestors |
//! | [`gate`] | the gate's environment, and what a freeze said |
//! | [`show`] | the table, the progress, medians |

mod chain;
mod check;
mod gate;
mod show;
mod store;
mod workers;

use gate::{Gate, Outcome};
use show::{Progress, median, percentile};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;
use workers::Workers;

/// What is passed through all of it: the first thing that went wrong ends the demo.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: u8 = 64;
const SKIPPED: u8 = 77;
const USAGE_TEXT: &str = "\
usage: scripts/demo [--copies N] [--pairs N]    the built-in mail store (any user)
       scripts/demo cyrus [--copies N]          Debian's Cyrus on btrfs (root, Debian 12)

  --copies N   with and without the gate (default 50)
  --pairs N    runs for throughput (default 3)";

struct Options {
    copies: usize,
    pairs: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        // The demo starts itself under these names.
        ["worker", tree, first] => workers::deliver_until_told(Path::new(tree), first).map(|()| 0),
        ["link", work, number, links] => chain::be_a_link(Path::new(work), number, links),
        _ => match options(&words) {
            Ok(options) => demo(&options),
            Err(code) => return ExitCode::from(code),
        },
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("demo: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The command line; else the exit code with which it ends.
fn options(words: &[&str]) -> std::result::Result<Options, u8> {
    let mut options = Options { copies: 50, pairs: 3 };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let number = || rest.clone().next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        match (*word, number()) {
            ("-h" | "--help", _) => {
                println!("{USAGE_TEXT}");
                return Err(0);
            }
            ("--copies", Some(n)) => options.copies = n,
            ("--pairs", Some(n)) => options.pairs = n,
            _ => {
                eprintln!("{USAGE_TEXT}");
                return Err(USAGE);
            }
        }
        rest.next();
    }
    Ok(options)
}

/// Why it cannot run here.
fn obstacle() -> Option<String> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    let closed = scope.trim().parse::<u8>().is_ok_and(|scope| scope > 1);
    (closed && !nix::unistd::geteuid().is_root()).then(|| {
        format!(
            "kernel.yama.ptrace_scope is {}: only root may look into other processes; run it as root",
            scope.trim()
        )
    })
}

fn demo(options: &Options) -> Result<u8> {
    if let Some(why) = obstacle() {
        println!("skipped: {why}");
        return Ok(SKIPPED);
    }
    // Freezes whose parents have ended come back to this process, which waits for them.
    nix::sys::prctl::set_child_subreaper(true)?;
    let work = Folder::new()?;
    let tree = work.0.join("tree");
    fs::create_dir(&tree)?;
    let gate = Gate::new(&work.0, &tree)?;

    // Full boxes: a copy then takes as long from the first one on.
    rate(&tree, None, Duration::from_secs(1))?;
    let control = without_gate(&work.0, &tree, options.copies)?;
    let (torn, outcomes) = with_gate(&work.0, &tree, &gate, options.copies)?;
    let ratios = throughput(&tree, &gate, options.pairs)?;
    report(options.copies, control, torn, &outcomes, &ratios)
}

/// A work folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let named = ["WRITEGATE_LAB_DIR", "TMPDIR"].into_iter().find_map(std::env::var_os);
        let base = named.map_or("/var/tmp".into(), PathBuf::from);
        let made = nix::unistd::mkdtemp(&base.join("writegate-demo-XXXXXX"));
        let failed =
            |e| format!("cannot make a folder in {} (TMPDIR names another): {e}", base.display());
        Ok(Folder(made.map_err(failed)?))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Deliveries per second, of a run of this length.
fn rate(tree: &Path, gate: Option<&Gate>, length: Duration) -> Result<f64> {
    let workers = Workers::start(tree, gate)?;
    sleep(length);
    workers.stop()
}

fn copy(tree: &Path, to: &Path) -> Result<()> {
    // A file that vanishes while it is copied is part of what is shown: cp's answer means nothing.
    Command::new("cp").arg("-a").args([tree, to]).stderr(Stdio::null()).status()?;
    Ok(())
}

/// How many copies are torn.
fn without_gate(work: &Path, tree: &Path, count: usize) -> Result<usize> {
    let mut progress = Progress::new("copies without the gate", count);
    let workers = Workers::start(tree, None)?;
    sleep(Duration::from_millis(300));
    let mut torn = 0;
    for _ in 0..count {
        sleep(Duration::from_millis(50));
        let target = work.join("copy");
        copy(tree, &target)?;
        torn += usize::from(!check::contradictions(&target)?.is_empty());
        fs::remove_dir_all(&target)?;
        progress.step(&format!("{torn} torn"));
    }
    workers.stop()?;
    Ok(torn)
}

/// How many copies are torn, and what each freeze said.
fn with_gate(work: &Path, tree: &Path, gate: &Gate, count: usize) -> Result<(usize, Vec<Outcome>)> {
    let mut progress = Progress::new("copies with the gate", count);
    let mut chain = chain::Chain::start(work, tree, gate, count)?;
    sleep(Duration::from_millis(500));
    let (mut torn, mut outcomes) = (0, Vec::new());
    for number in 0..count {
        sleep(Duration::from_millis(50));
        outcomes.push(chain.freeze(number)?);
        let target = chain::copy_of(work, number);
        if target.exists() {
            torn += usize::from(!check::contradictions(&target)?.is_empty());
            fs::remove_dir_all(&target)?;
        }
        progress.step(&format!("{torn} torn"));
    }
    chain.stop()?;
    Ok((torn, outcomes))
}

/// The rate with the library and no freeze against none, pair by pair.
fn throughput(tree: &Path, gate: &Gate, pairs: usize) -> Result<Vec<f64>> {
    let mut progress = Progress::new("throughput, pairs of runs", pairs);
    let length = Duration::from_secs(2);
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        // Alternating: a machine that warms up or is busy by turns favours neither.
        let loaded_first = pair % 2 == 1;
        let first = rate(tree, loaded_first.then_some(gate), length)?;
        let second = rate(tree, (!loaded_first).then_some(gate), length)?;
        ratios.push(if loaded_first { first / second } else { second / first });
        progress.step(&format!("{:.3}", ratios[pair]));
    }
    Ok(ratios)
}

fn report(
    copies: usize,
    control: usize,
    torn: usize,
    outcomes: &[Outcome],
    ratios: &[f64],
) -> Result<u8> {
    let drains: Vec<f64> = outcomes.iter().filter_map(|o| o.milliseconds("drain")).collect();
    let held: Vec<f64> = outcomes.iter().filter_map(|o| o.milliseconds("held")).collect();
    let refused = outcomes.iter().filter(|o| !o.consistent()).count();
    let head = [
        "copies of a live tree",
        "copies",
        "torn",
        "refused",
        "drain p50 ms",
        "p99",
        "max",
        "held p50 ms",
    ];
    let figures = [
        percentile(&drains, 50),
        percentile(&drains, 99),
        percentile(&drains, 100),
        percentile(&held, 50),
    ];
    let mut gated =
        vec!["with the gate".into(), copies.to_string(), torn.to_string(), refused.to_string()];
    gated.extend(figures.map(|ms| ms.map_or("-".into(), |ms| format!("{ms:.1}"))));
    let mut bare = vec!["without the gate".into(), copies.to_string(), control.to_string()];
    bare.resize(head.len(), "-".into());
    println!("{}", show::table(&head, &[bare, gated]));
    println!(
        "throughput with the library and no freeze, against none: median ratio {:.3}, from {:.3} to {:.3} in {} pairs",
        median(ratios),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
        ratios.len()
    );
    for outcome in outcomes.iter().filter(|o| !o.consistent()).take(3) {
        eprintln!("{}", outcome.said.trim());
    }
    println!(
        "{}",
        outcomes.last().and_then(Outcome::line).unwrap_or("writegate printed no verdict")
    );
    if control < copies / 2 {
        eprintln!("only {control} copies without the gate are torn: this demo shows nothing");
        return Ok(1);
    }
    Ok(u8::from(torn > 0 || refused > 0))
}
