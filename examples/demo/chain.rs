//! Freezes that are the workers' ancestors.
//!
//! Under Yama's default (ptrace_scope 1) an ordinary user's freezer may look only into processes
//! that descend from it. So a chain of processes is made first, with the workers below its last
//! link, and each link, the outermost first, turns itself (exec) into one freeze when its turn
//! comes. Links wait at a socket of the demo: if the demo is gone they end.

use crate::Result;
use crate::gate::{Gate, Outcome};
use crate::workers::Workers;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The chain, as the demo sees it. The last one is the workers' parent.
pub struct Chain {
    work: PathBuf,
    links: Vec<Link>,
}

struct Link {
    pid: Pid,
    at: UnixStream,
}

/// Where the copy of this freeze lies.
pub fn copy_of(work: &Path, number: usize) -> PathBuf {
    work.join(format!("copy.{number}"))
}

fn said_by(work: &Path, number: usize) -> PathBuf {
    work.join(format!("freeze.{number}"))
}

impl Chain {
    /// Makes it, for so many freezes.
    pub fn start(work: &Path, tree: &Path, gate: &Gate, freezes: usize) -> Result<Chain> {
        debug_assert!(tree.starts_with(work) && !gate.settings().is_empty());
        let listener = UnixListener::bind(work.join("turns"))?;
        let mut first = link(work, 0, freezes)?.spawn()?;
        let mut links: Vec<Option<Link>> = (0..=freezes).map(|_| None).collect();
        for _ in 0..=freezes {
            let (at, _) = listener.accept()?;
            let mut line = String::new();
            BufReader::new(&at).read_line(&mut line)?;
            let mut words = line.split_whitespace().map(str::parse::<i32>);
            match (words.next(), words.next()) {
                (Some(Ok(number)), Some(Ok(pid))) => {
                    links[number as usize] = Some(Link { pid: Pid::from_raw(pid), at });
                }
                _ => {
                    let _ = first.kill();
                    return Err("a link of the chain of freezes did not start".into());
                }
            }
        }
        Ok(Chain { work: work.into(), links: links.into_iter().flatten().collect() })
    }

    /// The freeze whose turn it is.
    pub fn freeze(&mut self, number: usize) -> Result<Outcome> {
        self.links[number].at.write_all(b"x")?;
        let status = waitpid(self.links[number].pid, None)?;
        let code = if let WaitStatus::Exited(_, code) = status { Some(code) } else { None };
        Ok(Outcome { code, said: fs::read_to_string(said_by(&self.work, number))? })
    }

    /// Ends the workers.
    pub fn stop(self) -> Result<()> {
        if let Some(Link { pid, at }) = self.links.into_iter().next_back() {
            drop(at);
            waitpid(pid, None)?;
        }
        Ok(())
    }
}

fn link(work: &Path, number: usize, links: usize) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("link").arg(work).args([number.to_string(), links.to_string()]);
    Ok(command)
}

/// What a link does: it starts the next one, and becomes a freeze in its turn. The last one
/// starts the workers instead.
pub fn be_a_link(work: &Path, number: &str, links: &str) -> Result<u8> {
    let (number, links): (usize, usize) = (number.parse()?, links.parse()?);
    let tree = work.join("tree");
    let gate = Gate::new(work, &tree)?;
    let mut turn = UnixStream::connect(work.join("turns"))?;
    if number == links {
        let workers = Workers::start(&tree, Some(&gate))?;
        announce(&mut turn, number)?;
        let _ = turn.read(&mut [0]);
        workers.stop()?;
        return Ok(0);
    }
    let _next = link(work, number + 1, links)?.spawn()?;
    announce(&mut turn, number)?;
    if turn.read(&mut [0])? == 0 {
        return Ok(0);
    }
    let out = File::create(said_by(work, number))?;
    let mut freeze = gate.freeze(&copy_of(work, number));
    Err(freeze.stdout(out.try_clone()?).stderr(out).exec().into())
}

fn announce(turn: &mut UnixStream, number: usize) -> Result<()> {
    writeln!(turn, "{number} {}", std::process::id())?;
    Ok(())
}
