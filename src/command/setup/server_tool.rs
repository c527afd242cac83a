//! What a server's own program says of its configuration: never through a shell, not for longer than
//! some seconds, and as nobody where that suffices.

use super::site::Site;
use crate::command::library::trust;
use crate::linux::poll::wait_readable;
use crate::linux::process;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where a server's programs lie.
const FOLDERS: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// A program that looks something up at a dead host is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// So much of an answer is read.
const MOST: usize = 4 << 20;
/// Nobody, and nobody's group, everywhere.
const NOBODY: u32 = 65534;

/// What the first of these programs that is there answers to these arguments. None: none is there, it
/// failed, or it did not end in time; or the site is not this machine, whose programs are not run.
pub fn ask(site: &Site, programs: &[&str], arguments: &[&str]) -> Option<String> {
    if !site.is_this_machine() {
        return None;
    }
    let places =
        programs.iter().flat_map(|name| FOLDERS.map(|folder| Path::new(folder).join(name)));
    let program = places.into_iter().find(|path| path.exists())?;
    if !nix::unistd::geteuid().is_root() {
        return run(&program, arguments, false);
    }
    // Its configuration may be root's alone to read. What others can change is not run as root.
    let as_root = || {
        trust::check(site.root(), &program).ok()?;
        run(&program, arguments, false)
    };
    run(&program, arguments, true).or_else(as_root)
}

fn run(program: &PathBuf, arguments: &[&str], as_nobody: bool) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", FOLDERS.join(":"))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    if as_nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn().ok()?;
    let said = answer(&mut child, Instant::now() + PATIENCE);
    if said.is_none() {
        // It may be stuck in the kernel, and is not waited for.
        process::abandon_child(child.id() as i32);
    }
    String::from_utf8(said?).ok().filter(|text| !text.trim().is_empty())
}

/// All that it says, once it has ended well.
fn answer(child: &mut Child, until: Instant) -> Option<Vec<u8>> {
    let mut out = child.stdout.take()?;
    let mut said = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as u64;
        if said.len() > MOST || !wait_readable(&[out.as_fd()], left) {
            return None;
        }
        let mut part = [0; 65536];
        match out.read(&mut part) {
            Ok(0) => break,
            Ok(len) => said.extend_from_slice(&part[..len]),
            Err(_) => return None,
        }
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success().then_some(said),
            Ok(None) if Instant::now() < until => sleep(PAUSE),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_and_a_failure_is_none() {
        let here = Site::new(Path::new("/"));
        assert_eq!(
            ask(&here, &["no-such-program", "echo"], &["a b", "$HOME"]).unwrap(),
            "a b $HOME\n"
        );
        assert_eq!(ask(&here, &["false"], &[]), None);
        assert_eq!(ask(&here, &["no-such-program"], &[]), None);
        assert_eq!(ask(&Site::new(Path::new("/tmp")), &["echo"], &["a"]), None);
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let begun = Instant::now();
        let mut child =
            Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().expect("sleep is there");
        assert_eq!(answer(&mut child, begun + Duration::from_millis(50)), None);
        assert!(begun.elapsed() < Duration::from_secs(30));
        child.kill().and_then(|()| child.wait().map(drop)).expect("it is ours");
    }
}
