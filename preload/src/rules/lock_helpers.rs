//! Programs that make a lock file for the process that runs them, and end: `lockfile`,
//! `dotlockfile`, a shell with `set -C`. Which file that is stands on their command line; it is
//! left in the mailbox, and looked at when the program has ended well.

use super::dotlocks;
use crate::frame::Frame;
use crate::linux::memory::PAGE;
use crate::linux::process::pid;
use crate::linux::time::coarse_real;
use crate::program_memory::{program_can_read, program_string};
use crate::protected::paths::absolute;
use crate::rule_table::rule;
use crate::text::Path;
use crate::this_process::mailbox::{self, Message};
use crate::this_process::settings::settings;
use crate::this_process::state::Region;
use gate::calls::{Call, Rule};
use gate::profile::{Key, LockName, lock_like};
use linux_raw_sys::general::AT_FDCWD;

/// So many arguments are looked at.
const ARGUMENTS: usize = 64;

/// Programs that run what stands on their command line.
const SHELLS: [&[u8]; 8] = [b"sh", b"dash", b"bash", b"ash", b"ksh", b"mksh", b"zsh", b"busybox"];

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|c| *c == b'/').next().unwrap_or(path)
}

fn is_helper(word: &[u8]) -> bool {
    settings().matches(Key::LockHelper, word)
}

/// The words of a command line, however it was put together.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let apart = |c: &u8| {
        c.is_ascii_whitespace()
            || matches!(*c, 0 | b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'"' | b'\'')
            || matches!(*c, b'`' | b'=' | b'{' | b'}')
    };
    text.split(apart).filter(|word| !word.is_empty())
}

/// May what a shell is told to do make a lock file?
fn may_make(text: &[u8]) -> bool {
    let named = |word: &[u8]| settings().given(Key::LockFile, word);
    words(text).any(|word| word == b"-C" || word == b"noclobber" || is_helper(word) || named(word))
}

/// An argument of a program about to be run.
///
/// # Safety
/// `list` is what the program passed.
unsafe fn argument<'a>(list: *const *const u8, at: usize) -> Option<&'a [u8]> {
    let word = list.wrapping_add(at);
    let new_page = at == 0 || (word as usize).is_multiple_of(PAGE);
    if word.is_null() || new_page && !program_can_read(word as u64, size_of::<u64>()) {
        return None;
    }
    // SAFETY: the kernel said of this page that it can be read; the string is the program's.
    unsafe { program_string(*word) }
}

/// A program is about to be run by this very process (0: by a child that is yet to come).
///
/// # Safety
/// The frame is the trampoline's own, with the program's arguments.
pub unsafe fn about_to_run(frame: &Frame, child: i32) {
    if !mailbox::is_made() {
        return;
    }
    let call = frame.inner;
    let is = |one: Call| call == one as u16;
    let spawns = matches!(rule(call), Some(Rule::Spawn(_)));
    let (program, list) = match () {
        () if is(Call::fexecve) => return,
        () if is(Call::execveat) => (frame.arg(1), frame.arg(2)),
        () if spawns => (frame.arg(1), frame.arg(4)),
        () => (frame.arg(0), frame.arg(1)),
    };
    let list = list as *const *const u8;
    // SAFETY: the program's own strings, by the caller's promise.
    unsafe {
        let Some(program) = program_string(program as *const u8) else { return };
        let name = base_name(program);
        let by_name = is_helper(name);
        let shell = SHELLS.contains(&name);
        if !by_name && !shell && !settings().has(Key::LockFile) {
            return;
        }
        let mut text = Path::new();
        let mut commands = !shell;
        let mut told = by_name;
        for at in 1..ARGUMENTS {
            let Some(argument) = argument(list, at) else { break };
            if commands {
                told |= shell && may_make(argument);
                told |= settings().given(Key::LockFile, argument);
                text.push(argument);
                text.push(b"\0");
            } else if !argument.starts_with(b"-") {
                break;
            } else {
                commands = argument.contains(&b'c');
            }
        }
        if told {
            leave(child, text.bytes(), text.too_long);
        }
    }
}

/// A command line is about to be run by a shell that libc starts. True: it may make a lock file.
///
/// # Safety
/// `command` is the program's string, or null.
pub unsafe fn about_to_command(command: *const u8) -> bool {
    // SAFETY: by the caller's promise.
    let Some(text) = (unsafe { program_string(command) }) else { return false };
    if !may_make(text) {
        return false;
    }
    mailbox::make();
    leave(0, text, false);
    true
}

#[inline(never)]
fn leave(child: i32, text: &[u8], too_long: bool) {
    let mut directory = Path::new();
    absolute(AT_FDCWD, b"", &mut directory);
    // What is too long does not fit into a message either.
    let text = if too_long || directory.too_long { &[0; mailbox::TEXT + 1][..] } else { text };
    let parent = if child == 0 { pid() } else { 0 };
    let since = coarse_real();
    mailbox::put(child, parent, (0, 0), since, &[directory.bytes(), b"\0", text]);
}

/// A program with this command line has ended well: the lock files that it has made are this
/// process's.
#[inline(never)]
pub fn has_ended(region: &'static Region, message: &Message) {
    let text = message.text();
    let at = text.iter().position(|c| *c == 0).unwrap_or(text.len());
    let (directory, command) = text.split_at(at);
    let mut path = Path::new();
    for word in words(command).filter(|word| !word.starts_with(b"-")) {
        path.clear();
        if !word.starts_with(b"/") {
            path.push(directory);
        }
        path.push(word.strip_prefix(b"./").unwrap_or(word));
        let given = settings().given(Key::LockFile, path.bytes());
        if !given && lock_like(word) != Some(LockName::Lock) {
            // `lockfile-create box` makes `box.lock`.
            path.push(b".lock");
        }
        if !path.too_long {
            dotlocks::made_since(region, &path, message.since, given);
        }
    }
}
