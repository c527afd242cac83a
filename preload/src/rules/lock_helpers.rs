//! Programs that make a lock file for the process that runs them, and end: `lockfile`,
//! `dotlockfile`, a shell with `set -C`. Which file that is stands on their command line; it is
//! left in the mailbox, and looked at when the program has ended well.

use super::lock_files;
use crate::frame::Frame;
use crate::linux::confined;
use crate::linux::memory::PAGE;
use crate::linux::process::pid;
use crate::linux::time::coarse_real;
use crate::program_memory::{program_can_read, program_string, program_text};
use crate::protected::paths::absolute;
use crate::rule_table::rule;
use crate::text::Path;
use crate::this_process::lock_table::file_lost;
use crate::this_process::mailbox;
use crate::this_process::settings::settings;
use crate::this_process::state::Region;
use gate::calls::{Call, Rule};
use gate::mailbox::{About, Draft, From, Message, Ticket};
use gate::profile::{Key, LockName, lock_like};
use linux_raw_sys::general::AT_FDCWD;

/// Programs that run what stands on their command line.
const SHELLS: [&[u8]; 8] = [b"sh", b"dash", b"bash", b"ash", b"ksh", b"mksh", b"zsh", b"busybox"];

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|c| *c == b'/').next().unwrap_or(path)
}

fn is_helper(word: &[u8]) -> bool {
    settings().matches(Key::LockHelper, word)
}

/// What stands between the words of a command line, however it was put together.
fn is_between(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(byte, 0 | b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'"' | b'\'')
        || matches!(byte, b'`' | b'=' | b'{' | b'}')
}

/// May what a shell is told to do make a lock file?
fn may_make(text: &[u8]) -> bool {
    let named = |word: &[u8]| settings().given(Key::LockFile, word);
    let mut words = text.split(|byte| is_between(*byte)).filter(|word| !word.is_empty());
    words.any(|word| word == b"-C" || word == b"noclobber" || is_helper(word) || named(word))
}

/// Shows the arguments of a program about to be run but for its name, all of them, until `go_on`
/// says no.
///
/// # Safety
/// `list` is what the program passed.
unsafe fn each_argument(list: *const *const u8, mut go_on: impl FnMut(&[u8]) -> bool) {
    if list.is_null() || !program_can_read(list as u64, size_of::<u64>()) {
        return;
    }
    for at in 1.. {
        let word = list.wrapping_add(at);
        if (word as usize).is_multiple_of(PAGE) && !program_can_read(word as u64, size_of::<u64>())
        {
            return;
        }
        // SAFETY: the kernel said of this page that it can be read; the string is the program's.
        let argument = unsafe { program_text(*word) };
        if !argument.is_some_and(&mut go_on) {
            return;
        }
    }
}

/// Those that a program is told to do: of a shell, what stands after `-c`.
///
/// # Safety
/// As [`each_argument`].
unsafe fn each_order(shell: bool, list: *const *const u8, mut show: impl FnMut(&[u8])) {
    let mut orders = !shell;
    let look = |argument: &[u8]| {
        if orders {
            show(argument);
        } else if argument.starts_with(b"-") {
            orders = argument.contains(&b'c');
        } else {
            return false;
        }
        true
    };
    // SAFETY: the caller's promise.
    unsafe { each_argument(list, look) }
}

/// What was left of a command line that is about to be run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It makes no lock file.
    Nothing,
    /// A message, to be read when the program has ended.
    Message(Ticket),
    /// It may make one, and could not be left: there was no room.
    Lost,
}

impl Left {
    /// In a frame's note; 0: nothing.
    pub fn note(self) -> u64 {
        match self {
            Left::Nothing => 0,
            Left::Message(Ticket(number)) => number,
            Left::Lost => u64::MAX,
        }
    }

    /// See [`Left::note`].
    pub fn noted(note: u64) -> Left {
        match note {
            0 => Left::Nothing,
            u64::MAX => Left::Lost,
            number => Left::Message(Ticket(number)),
        }
    }
}

/// A program is about to be run by this process (`child`), or, if none, by a child that is yet to
/// come.
///
/// # Safety
/// The frame is the trampoline's own, with the program's arguments.
pub unsafe fn about_to_run(frame: &Frame, child: Option<fn() -> i32>) -> Left {
    if !mailbox::is_made() || confined::by_itself() {
        return Left::Nothing;
    }
    let call = frame.inner;
    let is = |one: Call| call == one as u16;
    let spawns = matches!(rule(call), Some(Rule::Spawn(_)));
    let (program, list) = match () {
        () if is(Call::fexecve) => return Left::Nothing,
        () if is(Call::execveat) => (frame.arg(1), frame.arg(2)),
        () if spawns => (frame.arg(1), frame.arg(4)),
        () => (frame.arg(0), frame.arg(1)),
    };
    let list = list as *const *const u8;
    // SAFETY: the program's own strings, by the caller's promise.
    unsafe {
        let Some(program) = program_string(program as *const u8) else { return Left::Nothing };
        let name = base_name(program);
        let by_name = is_helper(name);
        let shell = SHELLS.contains(&name);
        if !by_name && !shell && !settings().has(Key::LockFile) {
            return Left::Nothing;
        }
        let mut told = by_name;
        each_order(shell, list, |argument| {
            told = told || shell && may_make(argument) || settings().given(Key::LockFile, argument);
        });
        if !told {
            return Left::Nothing;
        }
        leave(child.map(|child| child()), |draft| {
            each_order(shell, list, |argument| {
                draft.push(argument);
                draft.push(b"\0");
            });
        })
    }
}

/// A command line is about to be run by a shell that libc starts.
///
/// # Safety
/// `command` is the program's string, or null.
pub unsafe fn about_to_command(command: *const u8) -> Left {
    if confined::by_itself() {
        return Left::Nothing;
    }
    // SAFETY: by the caller's promise.
    let Some(text) = (unsafe { program_text(command) }) else { return Left::Nothing };
    if !may_make(text) {
        return Left::Nothing;
    }
    mailbox::make();
    leave(None, |draft| draft.push(text))
}

#[inline(never)]
fn leave(child: Option<i32>, write: impl FnOnce(&mut Draft)) -> Left {
    let mut directory = Path::new();
    absolute(AT_FDCWD, b"", &mut directory);
    let own = pid();
    let reader = if child.is_none() { own } else { 0 };
    let about = About::Command(coarse_real());
    let draft = (!directory.too_long).then(|| mailbox::draft(own)).flatten();
    let left = draft.and_then(|mut draft| {
        draft.push(directory.bytes());
        draft.push(b"\0");
        write(&mut draft);
        draft.send(child.map(From::Child), reader, about)
    });
    match (left, child) {
        (Some(ticket), _) => Left::Message(ticket),
        (None, Some(child)) => {
            mailbox::mark_lost(child);
            Left::Lost
        }
        (None, None) => Left::Lost,
    }
}

/// A program with this command line has ended well: the lock files that it has made are this
/// process's. A name may have been given as an argument of its own, in quotes, or as a word.
/// Where that must not be asked, it may have made one.
#[inline(never)]
pub fn has_ended(region: &'static Region, message: &Message, since: (i64, i64)) {
    if confined::by_itself() {
        return file_lost(region);
    }
    each_name(region, message, since, |byte| byte == 0);
    each_name(region, message, since, |byte| matches!(byte, 0 | b'"' | b'\''));
    each_name(region, message, since, is_between);
}

/// Longest name of a file, and longest path, that the kernel takes.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;

#[inline(never)]
fn each_name(
    region: &'static Region,
    message: &Message,
    since: (i64, i64),
    ends: impl Fn(u8) -> bool,
) {
    let directory = || message.text().take_while(|byte| *byte != 0);
    let mut path = Path::new();
    // Of the word: where it begins in the path, its length, and that of its longest component.
    let (mut start, mut len, mut part, mut longest) = (0, 0, 0, 0);
    let command = message.text().skip(directory().count() + 1);
    for byte in command.chain([0]) {
        if !ends(byte) {
            if len == 0 {
                path.clear();
                if byte != b'/' {
                    directory().for_each(|byte| path.push(&[byte]));
                }
                start = path.bytes().len();
                (part, longest) = (0, 0);
            }
            path.push(&[byte]);
            len += 1;
            part = if byte == b'/' { 0 } else { part + 1 };
            longest = longest.max(part);
            continue;
        }
        if len > 0 && !path.too_long {
            made(region, &mut path, start, since);
        } else if len > 0 && longest <= NAME_MAX && len < PATH_MAX {
            // A path that cannot be looked at here.
            file_lost(region);
        }
        len = 0;
    }
}

/// Looks for a lock file that was made under this name, which begins at `start` of its path.
fn made(region: &'static Region, path: &mut Path, start: usize, since: (i64, i64)) {
    let name = path.bytes().get(start..).unwrap_or(&[]);
    if name.starts_with(b"-") {
        return;
    }
    let is_lock = lock_like(name) == Some(LockName::Lock);
    let given = settings().given(Key::LockFile, path.bytes());
    if !given && !is_lock {
        // `lockfile-create box` makes `box.lock`.
        path.push(b".lock");
    }
    if !path.too_long {
        lock_files::made_since(region, path, since, given);
    }
}
