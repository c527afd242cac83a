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
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

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
    let trusted = |member: &&Member| census.services[at].is_trusted(member.pid);
    let (first, then): (Vec<&Member>, Vec<&Member>) = census.alive(at).partition(trusted);
    for (members, is_trusted) in [(first, true), (then, false)] {
        let mut named_any = false;
        for member in members {
            if is_its_parents(member, &census.gates[at]) {
                continue;
            }
            let text = text_of(member, helper);
            match procfs::look_at(member.pid) {
                Look::Seen(now) if now.start != member.stat.start => continue,
                Look::Seen(now) if now.image != member.stat.image => {
                    all.changed.push(member.pid);
                    continue;
                }
                Look::Gone(_) => continue,
                // What was read says why, or is good.
                Look::Seen(_) | Look::NotSeen(_) => {}
            }
            let text = match text {
                Look::Seen(text) => text,
                Look::Gone(_) => continue,
                Look::NotSeen(why) => {
                    let program = member.stat.comm.clone();
                    all.unread.push(Unread { pid: member.pid, program, why });
                    continue;
                }
            };
            let Some(named) = Named::of(&text) else {
                let (program, why) = (member.stat.comm.clone(), WhyNot::Malformed);
                all.unread.push(Unread { pid: member.pid, program, why });
                continue;
            };
            for dir in Named::parts(named.directories) {
                named_any = true;
                let by = match is_trusted {
                    true => NamedBy::Process(member.pid),
                    false => NamedBy::UserProcess(member.pid),
                };
                all.dirs.entry(path(dir).into()).or_insert(by);
            }
            let exclude: Vec<String> = Named::parts(named.exclude)
                .map(|pattern| String::from_utf8_lossy(pattern).into_owned())
                .collect();
            if !exclude.is_empty() {
                all.exclude.insert(member.pid, exclude);
            }
        }
        if named_any {
            break;
        }
    }
    all
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Where its list lies in its memory, and how long it is.
fn place(member: &Member) -> Option<(u64, u64)> {
    let header = member.view.as_ref()?.header();
    Some((header.named_at.load(Relaxed), header.named_len.load(Relaxed)))
}

/// A forked child has its parent's list, at the same place.
fn is_its_parents(member: &Member, members: &[Member]) -> bool {
    let parent = member.parent.and_then(|parent| members.get(parent));
    let parent = parent.filter(|parent| !parent.gone && parent.nonce == member.parent_nonce);
    match (place(member), parent.and_then(place)) {
        // No region of its own yet: it has done nothing, and what it is told is its parent's.
        (None, _) => true,
        (own, Some(parents)) => own == Some(parents),
        (_, None) => false,
    }
}

fn text_of(member: &Member, helper: &mut Helper) -> Look<Vec<u8>> {
    match place(member) {
        // Nothing but what separates the two lists.
        None | Some((0, _) | (_, 0 | 1)) => Look::Seen(vec![NAMED_SEPARATOR]),
        Some((at, len)) => helper.memory(member.pid, at, len),
    }
}
