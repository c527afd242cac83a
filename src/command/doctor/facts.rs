//! What is to be seen of one process, from the outside. Gathered in a child (see
//! `apart`); what it means is decided in `reason`.

use super::elf::{self, Image};
use crate::linux::library::{self, LibraryLayout};
use crate::linux::procfs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything about one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its name.
    pub program: String,
    /// The program's path.
    pub exe: Option<PathBuf>,
    /// Effective user.
    pub uid: Option<u32>,
    /// Its control group.
    pub cgroup: String,
    /// Why `maps` could not be read.
    pub unseen: Option<i32>,
    /// Looking at it hung.
    pub hung: bool,
    /// The library, as mapped.
    pub library: Option<String>,
    /// The layout of that library.
    pub library_layout: Option<LibraryLayout>,
    /// The mapped library's file is gone (an upgrade puts another one at its place).
    pub library_replaced: bool,
    /// Set-id programs take it too: it has the bit and lies in a standard directory,
    /// or /etc/ld.so.preload names it.
    pub library_for_set_id: bool,
    /// Path and inode of a control page that it maps.
    pub page: Option<(String, u64)>,
    /// Other files that it maps executable.
    pub texts: Vec<String>,
    /// Its program's file.
    pub image: Option<Image>,
    /// AT_SECURE: the loader believes no variable.
    pub secure: Option<bool>,
    /// The variables that matter; None: not to be seen, or overwritten by a title.
    pub environ: Option<BTreeMap<String, String>>,
    /// When it was started, ns since 1970.
    pub started_ns: u64,
    /// It has another root directory than we.
    pub chroot: Option<PathBuf>,
    /// It lives in another mount namespace than we.
    pub other_mounts: bool,
    /// Its monotonic clock is not ours.
    pub clock_offset: bool,
    /// AppArmor's or SELinux's label, if it confines.
    pub label: Option<String>,
    /// A seccomp filter is in force.
    pub seccomp: bool,
    /// The gate's page cannot be seen at its place in this process's root.
    pub page_hidden: bool,
    /// The boot id cannot be read in its root.
    pub boot_id_hidden: bool,
    /// What is wrong with the library that LD_PRELOAD names.
    pub preload_fault: Option<PreloadFault>,
}

/// What keeps the loader from taking the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PreloadFault {
    /// No such file in its root.
    Missing(String),
    /// Its user may not pass this directory or read this file.
    Unreadable(String),
    /// The library has this many bits, the program has others.
    Bits(u8),
}

/// Looks at one process. `control` is where the gate's page lies.
pub fn of(pid: i32, control: &Path) -> Facts {
    let stat = procfs::stat(pid);
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let root = proc.join("root");
    let mut facts = Facts {
        pid,
        parent: stat.as_ref().map_or(0, |s| s.ppid),
        program: stat.as_ref().map(|s| s.comm.clone()).unwrap_or_default(),
        exe: procfs::exe(pid),
        uid: procfs::uid(pid),
        cgroup: procfs::cgroup(pid).unwrap_or_default(),
        started_ns: stat.as_ref().map_or(0, |s| started_ns(s.start)),
        image: elf::image(&proc.join("exe")),
        ..Facts::default()
    };
    match fs::read(proc.join("maps")) {
        Ok(bytes) => maps(&mut facts, &String::from_utf8_lossy(&bytes)),
        Err(e) => facts.unseen = e.raw_os_error().or(Some(0)),
    }
    facts.secure = fs::read(proc.join("auxv")).ok().and_then(|bytes| secure(&bytes));
    facts.environ = fs::read(proc.join("environ")).ok().and_then(|bytes| environ(&bytes));
    let differs = |name: &str| {
        let (theirs, ours) =
            (fs::read_link(proc.join(name)), fs::read_link(format!("/proc/self/{name}")));
        matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs != ours)
    };
    facts.other_mounts = differs("ns/mnt");
    facts.chroot = fs::read_link(&root).ok().filter(|path| path != Path::new("/"));
    facts.clock_offset = fs::read_to_string(proc.join("timens_offsets"))
        .is_ok_and(|text| differs("ns/time") && has_offset(&text));
    facts.label = label(&proc);
    facts.seccomp = fs::read_to_string(proc.join("status"))
        .is_ok_and(|text| text.lines().any(|l| l.starts_with("Seccomp:") && l.ends_with('2')));
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    facts.page_hidden = fs::metadata(&root).is_ok() && fs::metadata(inside(control)).is_err();
    facts.boot_id_hidden = fs::metadata(&root).is_ok()
        && fs::read(inside(Path::new("/proc/sys/kernel/random/boot_id"))).is_err();
    facts.preload_fault = preload_fault(&facts, &root);
    facts.library_for_set_id = facts.library.as_ref().is_some_and(|path| {
        let standard = path.starts_with("/lib") || path.starts_with("/usr/lib");
        let bit = fs::metadata(inside(Path::new(path))).is_ok_and(|meta| meta.mode() & 0o4000 != 0);
        let everywhere = fs::read_to_string(inside(Path::new("/etc/ld.so.preload")));
        standard && bit || everywhere.is_ok_and(|list| list.contains("libwritegate.so"))
    });
    facts
}

fn maps(facts: &mut Facts, text: &str) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(flags)) = (words.next(), words.next()) else { continue };
        let (Some(_), Some(_), Some(ino)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let ino = ino.parse().unwrap_or(0);
        let Some(at) = line.find('/') else { continue };
        let path = &line[at..];
        let plain = path.strip_suffix(" (deleted)").unwrap_or(path);
        if plain.ends_with("/libwritegate.so") {
            if let (None, Some((start, end))) = (&facts.library, ends(range)) {
                facts.library_layout = Some(library::layout_of(facts.pid, start, end, plain));
            }
            facts.library = Some(plain.into());
            // Inode numbers say less: an overlay shows others in maps than in stat.
            facts.library_replaced |= path != plain;
        } else if flags.ends_with('s') && plain.ends_with("/control") && is_page(range) {
            facts.page = Some((plain.into(), ino));
        } else if flags.contains('x') && path == plain && ino != 0 {
            facts.texts.push(plain.into());
        }
    }
    facts.texts.sort();
    facts.texts.dedup();
}

/// First and last address of a mapping.
fn ends(range: &str) -> Option<(u64, u64)> {
    let parse = |part: &str| u64::from_str_radix(part, 16).ok();
    range.split_once('-').and_then(|(a, b)| Some((parse(a)?, parse(b)?)))
}

fn is_page(range: &str) -> bool {
    ends(range).is_some_and(|(start, end)| end - start == gate::control::SIZE as u64)
}

/// AT_SECURE in a 64-bit auxiliary vector.
fn secure(auxv: &[u8]) -> Option<bool> {
    let word = |at: &[u8]| at.try_into().map(u64::from_ne_bytes).ok();
    let pairs = auxv.chunks_exact(16).map(|pair| Some((word(&pair[..8])?, word(&pair[8..])?)));
    pairs.flatten().find(|(key, _)| *key == 23).map(|(_, value)| value != 0)
}

/// None if a title was written over it.
fn environ(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = String::from_utf8_lossy(bytes);
    let parts: Vec<&str> = text.split('\0').filter(|part| !part.is_empty()).collect();
    if !bytes.is_empty() && !parts.iter().any(|part| part.contains('=')) {
        return None;
    }
    let pairs = parts.into_iter().filter_map(|part| part.split_once('='));
    let ours = pairs.filter(|(name, _)| name.starts_with("WRITEGATE_") || *name == "LD_PRELOAD");
    Some(ours.map(|(name, value)| (name.into(), value.into())).collect())
}

fn has_offset(text: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with("monotonic"))
        .any(|line| line.split_ascii_whitespace().skip(1).any(|number| number.parse() != Ok(0i64)))
}

/// A label that confines: not `unconfined`, not merely complaining.
fn label(proc: &Path) -> Option<String> {
    let text = fs::read_to_string(proc.join("attr/current")).ok()?;
    let text = text.trim_end_matches(['\0', '\n']);
    let confines =
        !text.is_empty() && !text.contains("unconfined") && !text.ends_with("(complain)");
    confines.then(|| text.to_owned())
}

/// Ticks since boot, on the wall clock as it stands now. (`btime` in `/proc/stat` is a
/// whole second, too coarse to order a start and the making of a page.)
fn started_ns(ticks: u64) -> u64 {
    let mut boot = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `boot` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut boot) };
    let since_boot = boot.tv_sec as u64 * 1_000_000_000 + boot.tv_nsec as u64;
    // SAFETY: takes a number only.
    let rate = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    let age = since_boot.saturating_sub(ticks * (1_000_000_000 / rate));
    crate::linux::sys::wall_ns().saturating_sub(age)
}

/// The libraries that LD_PRELOAD names and that are ours.
pub fn named_library(environ: &BTreeMap<String, String>) -> Option<&str> {
    let list = environ.get("LD_PRELOAD")?;
    list.split([':', ' ']).find(|part| part.rsplit('/').next() == Some("libwritegate.so"))
}

fn preload_fault(facts: &Facts, root: &Path) -> Option<PreloadFault> {
    let path = named_library(facts.environ.as_ref()?)?;
    let inside = root.join(path.strip_prefix('/')?);
    let meta = match fs::metadata(&inside) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Some(PreloadFault::Missing(path.into()));
        }
        other => other.ok()?,
    };
    if let Some(uid) = facts.uid.filter(|uid| *uid != 0) {
        let may = |meta: &fs::Metadata, bit: u32| {
            let shift = if meta.uid() == uid { 6 } else { 0 };
            // Groups are not looked up: their bits count for others too.
            meta.mode() >> shift & bit != 0 || meta.mode() >> 3 & bit != 0
        };
        let parts = Path::new(path).ancestors().skip(1).filter(|part| *part != Path::new("/"));
        for part in parts {
            let below = root.join(part.strip_prefix("/").unwrap_or(part));
            if fs::metadata(below).is_ok_and(|meta| !may(&meta, 1)) {
                return Some(PreloadFault::Unreadable(part.display().to_string()));
            }
        }
        if !may(&meta, 4) {
            return Some(PreloadFault::Unreadable(path.into()));
        }
    }
    let bits = elf::image(&inside)?.bits;
    (facts.image.is_some_and(|image| image.bits != bits)).then_some(PreloadFault::Bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_an_environment_a_clock() {
        let pair = |key: u64, value: u64| [key.to_ne_bytes(), value.to_ne_bytes()].concat();
        assert_eq!(secure(&[pair(6, 4096), pair(23, 1)].concat()), Some(true));
        assert_eq!(secure(&pair(23, 0)), Some(false));
        assert_eq!(secure(&[]), None);
        let kept = environ(b"HOME=/\0LD_PRELOAD=/x/libwritegate.so:/y.so\0").unwrap();
        assert_eq!(named_library(&kept), Some("/x/libwritegate.so"));
        assert_eq!(environ(b"imapd: idle\0"), None, "a title lies there");
        assert_eq!(environ(b"").map(|e| e.len()), Some(0));
        assert!(has_offset("monotonic         1000         0\nboottime 0 0\n"));
        assert!(!has_offset("monotonic         0         0\nboottime 7 0\n"));
    }
}
