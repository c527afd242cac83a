//! `--apply`: runs what a set-up needs afterwards, and shows that it has worked.

use super::plan::Plan;
use super::service;
use crate::command::output::{print, print_lines, say};
use crate::outcome::fault::{CONFIG, Fault, NO_PROCESS, Result};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A service that has just been started needs a moment until all its processes are there.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Runs what a set-up needs afterwards, and checks it.
pub fn carry_out(plan: &Plan, name: &str, gate: &str) -> Result<()> {
    let unit = plan.service.as_deref();
    let ran = unit.is_some_and(|unit| service::not_running(unit).is_none());
    let done = run(&plan.then).and_then(|()| check(plan, gate));
    match unit.filter(|unit| ran && service::not_running(unit).is_some()) {
        Some(unit) => Err(Fault::new(CONFIG, service::lost(unit, name))),
        None => done,
    }
}

/// Runs each command in its turn; the first that fails ends it.
pub fn run(commands: &[String]) -> Result<()> {
    for command in commands {
        print(&format!("+ {command}"));
        let status = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).status();
        let status = status.map_err(|e| Fault::io("cannot run sh", &e))?;
        if !status.success() {
            return Err(Fault::new(
                CONFIG,
                format!(
                    "`{command}` ended with {}. The files are changed; what follows was not run: \
                     see to it, then repeat this command",
                    status.code().unwrap_or(1)
                ),
            ));
        }
    }
    Ok(())
}

/// Has it been applied already?
pub fn is_done(doctor: &[String]) -> bool {
    own(doctor).is_ok_and(|found| found.status.success())
}

/// Waits until the doctor is green, and makes one freeze of nothing.
pub fn check(plan: &Plan, gate: &str) -> Result<()> {
    if let Some(why) = plan.service.as_deref().and_then(service::not_running) {
        return Err(Fault::new(NO_PROCESS, why));
    }
    let doctor = &plan.check;
    let until = Instant::now() + PATIENCE;
    let found = loop {
        let found = own(doctor)?;
        if found.status.success() || Instant::now() > until {
            break found;
        }
        sleep(PAUSE);
    };
    print(&format!("+ writegate {}", doctor.join(" ")));
    show(&found);
    if !found.status.success() {
        let code = found.status.code().unwrap_or(1);
        return Err(Fault::new(
            code as u8,
            "the server is set up, and a freeze of it could not be trusted yet: the lines above say \
             why, and what to do",
        ));
    }
    let freeze = ["freeze", "-g", gate, "--", "true"].map(str::to_owned);
    print(&format!("+ writegate {}", freeze.join(" ")));
    let done = own(&freeze)?;
    show(&done);
    match done.status.code() {
        Some(0) => Ok(()),
        code => Err(Fault::new(
            code.unwrap_or(1) as u8,
            format!(
                "a freeze of nothing could not be trusted: `writegate rehearse -g {gate}` shows more"
            ),
        )),
    }
}

fn own(arguments: &[String]) -> Result<Output> {
    let exe = std::env::current_exe().map_err(|e| Fault::io("cannot find this command", &e))?;
    let done = Command::new(exe).args(arguments).stdin(Stdio::null()).output();
    done.map_err(|e| Fault::io("cannot run this command", &e))
}

fn show(done: &Output) {
    let text = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (out, errors) = (text(&done.stdout), text(&done.stderr));
    if !out.is_empty() {
        print_lines(&out);
    }
    if !errors.is_empty() {
        errors.lines().for_each(|line| say(line.trim_start_matches("writegate: ")));
    }
}
