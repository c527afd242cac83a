//! Who names directories: root's `--paths`, the gate's profile, and the processes themselves by
//! what their region carries of `WRITEGATE_PATHS` (an environment can be written over, and often is).

use crate::census::list::Census;
use crate::census::member::Member;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::helper::owner::Helper;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;
use gate::places::{NAMED_SEPARATOR, Named};
use gate::profile::{self, Key};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Who has named a directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NamedBy {
    /// `--paths`.
    Freezer,
    /// A `path` line of the profile in force.
    Profile,
    /// `WRITEGATE_PATHS` of this process, which no ordinary user controls.
    Process(i32),
    /// That of one which an ordinary user controls.
    UserProcess(i32),
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamedBy::Freezer => f.write_str("by --paths"),
            NamedBy::Profile => f.write_str("by a path line of the profile"),
            NamedBy::Process(pid) | NamedBy::UserProcess(pid) => {
                write!(f, "by WRITEGATE_PATHS of process {pid}")
            }
        }
    }
}

/// A process whose list could not be read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Process.
    pub pid: i32,
    /// Its name.
    pub program: ForeignText,
    /// Why not.
    pub why: WhyNot,
}

/// All that is named.
#[derive(Default)]
pub struct AllNamed {
    /// The directories, each with the one that named it first.
    pub dirs: BTreeMap<PathBuf, NamedBy>,
    /// What single processes exclude.
    pub exclude: HashMap<i32, Vec<String>>,
    /// Whose list could not be read, and why.
    pub unread: Vec<Unread>,
    /// Which have become another program since the census was made: what was read is not theirs.
    changed: Vec<i32>,
}

impl AllNamed {
    /// What root names: as the freezer was told, and in the profile.
    pub fn without_asking(by_freezer: &[PathBuf], profile: &str) -> AllNamed {
        let mut all = AllNamed::default();
        for dir in by_freezer {
            all.dirs.entry(dir.clone()).or_insert(NamedBy::Freezer);
        }
        for dir in profile::values(profile, Key::Path) {
            all.dirs.entry(dir.into()).or_insert(NamedBy::Profile);
        }
        all
    }
}

/// So long those are looked at anew that become another program meanwhile: in the middle of an exec
/// nothing can be told, and on a busy machine that takes its time. Nobody is held meanwhile.
const CHANGING_NS: u64 = 2_000_000_000;
/// What is waited before each look: twice as long each time, ...
const FIRST_PAUSE_NS: u64 = 1_000_000;
/// ... up to this.
const LONGEST_PAUSE_NS: u64 = 50_000_000;

/// Asks everybody. `by_freezer`: as it was told; `stop`: a signal has come.
pub fn ask(
    census: &mut Census,
    at: usize,
    helper: &mut Helper,
    (by_freezer, profile): (&[PathBuf], &str),
    stop: &dyn Fn() -> bool,
) -> AllNamed {
    let (begun, mut pause) = (clock::now_ns(), FIRST_PAUSE_NS);
    let mut all = ask_once(census, at, helper, by_freezer, profile);
    while !all.changed.is_empty() && clock::now_ns() - begun < CHANGING_NS && !stop() {
        clock::sleep_ns(pause);
        pause = (2 * pause).min(LONGEST_PAUSE_NS);
        census.look(helper, &all.changed);
        census.remove_dead();
        all = ask_once(census, at, helper, by_freezer, profile);
    }
    for pid in all.changed.drain(..) {
        let program = procfs::stat(pid).map(|stat| stat.comm).unwrap_or_default();
        all.unread.push(Unread { pid, program, why: WhyNot::Changing });
    }
    all
}

/// What a process names is its owner's to choose. So of those that belong to the service only the
/// most trusted are asked that name any: processes that no ordinary user controls, before those of
/// ordinary users.
fn ask_once(
    census: &Census,
    at: usize,
    helper: &mut Helper,
    by_freezer: &[PathBuf],
    profile: &str,
) -> AllNamed {
    let mut all = AllNamed::without_asking(by_freezer, profile);
    let members = &census.gates[at];
    let trusted = |i: &usize| census.services[at].is_trusted(members[*i].pid);
    let alive = (0..members.len()).filter(|i| !members[*i].gone);
    let (first, then): (Vec<usize>, Vec<usize>) = alive.partition(trusted);
    let mut asked = HashSet::new();
    for (group, by) in
        [(first, NamedBy::Process as fn(i32) -> NamedBy), (then, NamedBy::UserProcess)]
    {
        let mut named_any = false;
        // Those that have a list of their own first: it is their children's too, most often.
        let (heirs, first) =
            group.into_iter().partition::<Vec<_>, _>(|i| giver(*i, members).is_some());
        for i in first.into_iter().chain(heirs) {
            if has_answered_for(i, members, &asked) {
                continue;
            }
            match answer(&members[i], census.unseen.get(&members[i].pid), helper) {
                Answer::Named(text) => {
                    asked.insert(i);
                    named_any |= all.take(&members[i], &text, by);
                }
                Answer::NoMore => {}
                Answer::Changed => all.changed.push(members[i].pid),
                Answer::Unread(why) => all.cannot_tell(&members[i], why),
            }
        }
        if named_any {
            break;
        }
    }
    all
}

/// What comes of asking one.
enum Answer {
    /// Its list, as it lies in its memory.
    Named(Vec<u8>),
    /// It is gone, or ends: it changes nothing any more. (Dead, it may stay for ever where nobody
    /// waits for it.)
    NoMore,
    /// It has become another program: what was read is not its own.
    Changed,
    /// It could not be read.
    Unread(WhyNot),
}

/// `unseen`: why the last look at it failed.
fn answer(member: &Member, unseen: Option<&WhyNot>, helper: &mut Helper) -> Answer {
    let text = match (member.list(), unseen) {
        // That no region of it was seen says nothing.
        (None, Some(why)) => Look::NotSeen(*why),
        _ => text_of(member, helper),
    };
    match procfs::look_at(member.pid) {
        Look::Gone(_) => return Answer::NoMore,
        Look::Seen(now) if now.start != member.stat.start || now.is_dead() => {
            return Answer::NoMore;
        }
        // One that ends has lost its memory, and with it what tells one image from another.
        Look::Seen(now) if now.image != member.stat.image => {
            return match procfs::is_exiting(member.pid) {
                true => Answer::NoMore,
                false => Answer::Changed,
            };
        }
        // What was read says why, or is good.
        Look::Seen(_) | Look::NotSeen(_) => {}
    }
    match text {
        Look::Seen(text) => Answer::Named(text),
        Look::Gone(_) => Answer::NoMore,
        Look::NotSeen(_) if procfs::is_exiting(member.pid) => Answer::NoMore,
        Look::NotSeen(why) => Answer::Unread(why),
    }
}

impl AllNamed {
    /// Takes in what a member names. Has it named a directory?
    fn take(&mut self, member: &Member, text: &[u8], by: fn(i32) -> NamedBy) -> bool {
        let Some(named) = Named::of(text) else {
            self.cannot_tell(member, WhyNot::Malformed);
            return false;
        };
        let mut some = false;
        for dir in Named::parts(named.directories) {
            some = true;
            self.dirs.entry(path(dir).into()).or_insert(by(member.pid));
        }
        let exclude: Vec<String> = Named::parts(named.exclude)
            .map(|pattern| String::from_utf8_lossy(pattern).into_owned())
            .collect();
        if !exclude.is_empty() {
            self.exclude.insert(member.pid, exclude);
        }
        some
    }

    fn cannot_tell(&mut self, member: &Member, why: WhyNot) {
        self.unread.push(Unread { pid: member.pid, program: member.stat.comm.clone(), why });
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The member that forked this one, if it left it its list: the same, at the same place. It may be
/// gone.
fn giver(i: usize, members: &[Member]) -> Option<usize> {
    let member = &members[i];
    let parent = members.get(member.parent?)?;
    let is_its_child = match member.parent_nonce {
        // No region of its own yet: it has done nothing, and what it was told is its parent's.
        0 => member.view.is_none(),
        nonce => nonce == parent.nonce,
    };
    let same = member.list().is_none() || member.list() == parent.list();
    (is_its_child && same).then_some(member.parent?)
}

/// Has one of its ancestors told what this one was told? (It may have died before it was asked.)
fn has_answered_for(i: usize, members: &[Member], asked: &HashSet<usize>) -> bool {
    let ancestors = std::iter::successors(giver(i, members), |i| giver(*i, members));
    // Who forges its region may be its own ancestor.
    ancestors.take(members.len()).any(|i| asked.contains(&i))
}

fn text_of(member: &Member, helper: &mut Helper) -> Look<Vec<u8>> {
    match member.list() {
        // Nothing but what separates the two lists.
        None | Some((0, _) | (_, 0 | 1)) => Look::Seen(vec![NAMED_SEPARATOR]),
        Some((at, len)) => helper.memory(member.pid, at, len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::sleeper::Sleeper;

    fn sleeper() -> (Sleeper, Member) {
        let child = Sleeper::new();
        let pid = child.pid();
        (child, Member::new(pid, procfs::stat(pid).unwrap()))
    }

    /// Where its `maps` could not be read to their end no region of it is known, and so no list.
    #[test]
    fn a_member_whose_memory_was_not_seen_names_not_nothing() {
        let (child, member) = sleeper();
        let mut helper = Helper::new(Vec::new(), Vec::new()).unwrap();
        let unread = answer(&member, Some(&WhyNot::TooMuch), &mut helper);
        let named = answer(&member, None, &mut helper);
        child.end();
        let gone = answer(&member, Some(&WhyNot::TooMuch), &mut helper);
        assert!(matches!(unread, Answer::Unread(WhyNot::TooMuch)));
        // One that was seen, and has no region, was told nothing.
        assert!(matches!(named, Answer::Named(text) if text == [NAMED_SEPARATOR]));
        assert!(matches!(gone, Answer::NoMore));
    }

    /// Whatever lies where its list should be.
    #[test]
    fn a_list_that_is_none_is_said() {
        let (child, member) = sleeper();
        child.end();
        for (text, dirs, excluded, unread) in [
            (&b""[..], 0, 0, 1),
            (b"/a:/b", 0, 0, 1),
            (b"/a\0x\0y", 0, 0, 1),
            (b"\0", 0, 0, 0),
            (b":::\0", 0, 0, 0),
            (b"/a:/b:/a\0*.log", 2, 1, 0),
            (b"/\xff\0\xff", 1, 1, 0),
        ] {
            let mut all = AllNamed::default();
            let some = all.take(&member, text, NamedBy::Process);
            let found = (all.dirs.len(), all.exclude.len(), all.unread.len());
            assert_eq!((found, some), ((dirs, excluded, unread), dirs > 0), "{text:?}");
        }
    }

    #[test]
    fn one_that_claims_to_be_its_own_ancestor_has_not_answered_for_itself() {
        let (child, member) = sleeper();
        child.end();
        let of = |parent| Member {
            parent: Some(parent),
            ..Member::new(member.pid, member.stat.clone())
        };
        let members = [of(1), of(0)];
        assert!(!has_answered_for(0, &members, &HashSet::new()));
        assert!(has_answered_for(0, &members, &HashSet::from([1])));
    }
}
