//! The processes that deliver. Each ends, between two deliveries, when its standard input is closed:
//! so also when whoever started it is gone.

use crate::Result;
use crate::gate::Gate;
use crate::store;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{Read, stdin};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PROCESSES: usize = 8;
/// Work that changes nothing, between two deliveries.
const PAUSE: Duration = Duration::from_millis(1);

/// Those that run.
pub struct Workers {
    children: Vec<Child>,
    begun: Instant,
}

impl Workers {
    /// Starts them, bare or under a gate.
    pub fn start(tree: &Path, gate: Option<&Gate>) -> Result<Workers> {
        let program = std::env::current_exe()?;
        let mut workers = Workers { children: Vec::new(), begun: Instant::now() };
        for number in 0..PROCESSES {
            let mut command = Command::new(&program);
            command.arg("worker").arg(tree).arg(number.to_string());
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.envs(gate.into_iter().flat_map(Gate::service));
            workers.children.push(command.spawn()?);
        }
        Ok(workers)
    }

    /// Ends them; deliveries per second.
    pub fn stop(mut self) -> Result<f64> {
        for child in &mut self.children {
            drop(child.stdin.take());
        }
        let mut sum = 0.0;
        for child in &mut self.children {
            let mut text = String::new();
            if let Some(mut out) = child.stdout.take() {
                out.read_to_string(&mut text)?;
            }
            let status = child.wait()?;
            let count: f64 =
                text.trim().parse().map_err(|_| format!("a worker failed: {status}"))?;
            sum += count;
        }
        Ok(sum / self.begun.elapsed().as_secs_f64())
    }
}

/// What one of them does.
pub fn deliver_until_told(tree: &Path, first: &str) -> Result<()> {
    let mut turn: usize = first.parse()?;
    let mut done = 0;
    let input = stdin();
    loop {
        let mut end = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        if poll(&mut end, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            println!("{done}");
            return Ok(());
        }
        store::deliver(&tree.join(format!("box{}", turn % store::BOXES)))?;
        done += 1;
        turn += 1;
        sleep(PAUSE);
    }
}
