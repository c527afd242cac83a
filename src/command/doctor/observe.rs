//! Looks at one process from the outside. Some of it may hang, so the looking is done in
//! a child that has a time limit.

use super::observation::{Environment, Observation, PreloadFault, named_library};
use crate::gatedir;
use crate::linux::bounded_child;
use crate::linux::clock::wall_ns_of_ticks;
use crate::linux::library;
use crate::linux::namesake::MappedPage;
use crate::linux::namespaces;
use crate::linux::procfs::{self, environ, maps};
use crate::linux::program_file;
use crate::linux::user_namespaces;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a look at one process, or at one program's text, may take.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at one process. `control` is where the gate's page lies.
pub fn process(pid: i32, control: &Path) -> Observation {
    bounded_child::run(PATIENCE, || look(pid, control)).unwrap_or_else(|| {
        let stat = procfs::stat(pid);
        Observation {
            pid,
            program: stat.map(|s| s.comm).unwrap_or_default(),
            hung: true,
            ..Observation::default()
        }
    })
}

/// A process's variables that matter; None: not to be seen.
pub fn environment(pid: i32) -> Option<Environment> {
    let of_pid = move || {
        let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
        variables(&bytes)
    };
    bounded_child::run(Duration::from_millis(500), of_pid)?
}

/// The gate whose page a process maps; None: of none, or not to be seen.
pub fn mapped_gate(pid: i32) -> Option<String> {
    let gates = gatedir::names();
    let of_pid = move || {
        let text = maps::read(pid).ok()?;
        // Of a process in a mount namespace of its own, maps names the page from the mount on which it lies.
        let pages = maps::lines(&text).filter(is_page);
        let name = |path: &str| Path::new(path).parent()?.file_name()?.to_str().map(str::to_owned);
        pages.filter_map(|line| name(line.path_once())).find(|name| gates.contains(name))
    };
    bounded_child::run(Duration::from_millis(500), of_pid)?
}

/// May hang.
fn look(pid: i32, control: &Path) -> Observation {
    let stat = procfs::stat(pid);
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let root = proc.join("root");
    let mut seen = Observation {
        pid,
        parent: stat.as_ref().map_or(0, |s| s.ppid),
        program: stat.as_ref().map(|s| s.comm.clone()).unwrap_or_default(),
        exe: procfs::exe(pid),
        uid: procfs::uid(pid),
        cgroup: procfs::cgroup(pid).unwrap_or_default(),
        start: stat.as_ref().map_or(0, |s| s.start),
        started_ns: stat.as_ref().map_or(0, |s| wall_ns_of_ticks(s.start)),
        program_file: program_file::read(&proc.join("exe")),
        ..Observation::default()
    };
    // Where the first thread has ended, another one shows what the process maps.
    match maps::read(stat.as_ref().map_or(pid, |s| s.by)) {
        Ok(text) => mapped(&mut seen, &text),
        Err(e) => seen.maps_error = e.raw_os_error().or(Some(0)),
    }
    seen.secure_mode = fs::read(proc.join("auxv")).ok().and_then(|bytes| secure_mode(&bytes));
    seen.environment = fs::read(proc.join("environ")).ok().and_then(|bytes| variables(&bytes));
    seen.chroot = fs::read_link(&root).ok().filter(|path| path != Path::new("/"));
    seen.clock_offset = namespaces::has_other_clock(&pid.to_string());
    seen.label = label(&proc);
    let root_seen = fs::metadata(&root).is_ok();
    seen.page_hidden = root_seen && fs::metadata(inside(&root, control)).is_err();
    seen.page_of_nobody = page_of_nobody(pid, control);
    let boot_id = inside(&root, Path::new("/proc/sys/kernel/random/boot_id"));
    seen.boot_id_hidden = root_seen && fs::read(boot_id).is_err();
    seen.preload_fault = preload_fault(&seen, &root);
    seen.library = seen.library.map(|path| seen_from(seen.chroot.as_deref(), path));
    seen.library_for_set_id =
        seen.library.as_ref().is_some_and(|path| taken_by_set_id(&root, path));
    seen
}

/// A path as its maps name it, as the process itself would: of one in another root or mount
/// namespace they name it as whoever sees both would.
fn seen_from(chroot: Option<&Path>, path: String) -> String {
    let Some(inside) = chroot.and_then(|root| Path::new(&path).strip_prefix(root).ok()) else {
        return path;
    };
    Path::new("/").join(inside).display().to_string()
}

/// The root, as we number it, of a process's user namespace, if that does not know the page's owner.
fn page_of_nobody(pid: i32, control: &Path) -> Option<u32> {
    let map = user_namespaces::id_map(&pid.to_string())?;
    let owner = fs::metadata(control).ok()?.uid();
    map.root().filter(|_| map.inside(owner).is_none())
}

/// A path of the process, as we reach it.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Is it a gate's control page?
fn is_page(line: &maps::Line<'_>) -> bool {
    let named = Path::new(line.path_once()).file_name().is_some_and(|name| name == gatedir::PAGE);
    line.shared && named && line.size() == gate::control::SIZE as u64
}

fn mapped(seen: &mut Observation, text: &str) {
    for line in maps::lines(text).filter(|line| line.path.starts_with('/')) {
        let plain = line.path_once();
        if library::is_ours(&line) {
            if seen.library.is_none() {
                let layout = library::layout_of(seen.pid, line.start, line.end, plain);
                seen.library_layout = Some(layout);
            }
            seen.library = Some(plain.into());
            // Inode numbers say less: an overlay shows others in maps than in stat.
            seen.library_replaced |= line.path != plain;
        } else if is_page(&line) {
            seen.control_page = Some((plain.into(), line.ino));
            seen.namesake = MappedPage::of(seen.pid, &line)
                .is_some_and(|page| page.is_of_another_namespace(seen.pid));
        } else if line.executable && line.path == plain && line.ino != 0 {
            seen.executable_files.push(plain.into());
        }
    }
    seen.executable_files.sort();
    seen.executable_files.dedup();
}

/// AT_SECURE in a 64-bit auxiliary vector.
fn secure_mode(auxv: &[u8]) -> Option<bool> {
    let word = |at: &[u8]| at.try_into().map(u64::from_ne_bytes).ok();
    let pairs = auxv.chunks_exact(16).map(|pair| Some((word(&pair[..8])?, word(&pair[8..])?)));
    pairs.flatten().find(|(key, _)| *key == libc::AT_SECURE).map(|(_, value)| value != 0)
}

/// None if a title was written over it.
fn variables(bytes: &[u8]) -> Option<Environment> {
    let title = !bytes.is_empty() && !bytes.contains(&b'=');
    (!title).then(|| environ::variables(bytes))
}

/// A label that confines: not `unconfined`, not merely complaining.
fn label(proc: &Path) -> Option<String> {
    let text = fs::read_to_string(proc.join("attr/current")).ok()?;
    let text = text.trim_end_matches(['\0', '\n']);
    let confines =
        !text.is_empty() && !text.contains("unconfined") && !text.ends_with("(complain)");
    confines.then(|| text.to_owned())
}

/// Does the loader take this library into set-id programs of this root too?
fn taken_by_set_id(root: &Path, library: &str) -> bool {
    let standard = library.starts_with("/lib") || library.starts_with("/usr/lib");
    let bit = fs::metadata(inside(root, Path::new(library)))
        .is_ok_and(|meta| meta.mode() & libc::S_ISUID != 0);
    let everywhere = fs::read_to_string(inside(root, Path::new("/etc/ld.so.preload")));
    standard && bit || everywhere.is_ok_and(|list| list.contains("libwritegate.so"))
}

fn preload_fault(seen: &Observation, root: &Path) -> Option<PreloadFault> {
    let path = named_library(seen.environment.as_ref()?)?;
    let file = root.join(path.strip_prefix('/')?);
    let meta = match fs::metadata(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Some(PreloadFault::Missing(path.into()));
        }
        other => other.ok()?,
    };
    if let Some(uid) = seen.uid.filter(|uid| *uid != 0)
        && let Some(closed) = closed_to(uid, root, path, &meta)
    {
        return Some(PreloadFault::Unreadable(closed));
    }
    let bits = program_file::read(&file)?.bits;
    (seen.program_file.is_some_and(|program| program.bits != bits))
        .then_some(PreloadFault::Bits(bits))
}

/// The directory that this user may not pass on the way to a file, or the file itself.
fn closed_to(uid: u32, root: &Path, path: &str, file: &fs::Metadata) -> Option<String> {
    const READ: u32 = 4;
    const SEARCH: u32 = 1;
    let may = |meta: &fs::Metadata, bit: u32| {
        let shift = if meta.uid() == uid { 6 } else { 0 };
        // Groups are not looked up: their bits count for others too.
        meta.mode() >> shift & bit != 0 || meta.mode() >> 3 & bit != 0
    };
    let mut parts = Path::new(path).ancestors().skip(1).filter(|part| *part != Path::new("/"));
    let closed =
        |part: &&Path| fs::metadata(inside(root, part)).is_ok_and(|meta| !may(&meta, SEARCH));
    if let Some(part) = parts.find(closed) {
        return Some(part.display().to_string());
    }
    (!may(file, READ)).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_below_another_root_is_named_as_the_process_sees_it() {
        let library = "/srv/root/usr/lib/libwritegate.so";
        let seen = |root: Option<&str>| seen_from(root.map(Path::new), library.into());
        assert_eq!(seen(Some("/srv/root")), "/usr/lib/libwritegate.so");
        assert_eq!(seen(Some("/srv/roo")), library);
        assert_eq!(seen(None), library);
    }

    #[test]
    fn a_vector_an_environment_a_clock() {
        let pair = |key: u64, value: u64| [key.to_ne_bytes(), value.to_ne_bytes()].concat();
        assert_eq!(secure_mode(&[pair(6, 4096), pair(23, 1)].concat()), Some(true));
        assert_eq!(secure_mode(&pair(23, 0)), Some(false));
        assert_eq!(secure_mode(&[]), None);
        let kept = variables(b"HOME=/\0LD_PRELOAD=/x/libwritegate.so:/y.so\0").unwrap();
        assert_eq!(named_library(&kept), Some("/x/libwritegate.so"));
        assert_eq!(variables(b"imapd: idle\0"), None, "a title lies there");
        assert_eq!(variables(b"").map(|e| e.len()), Some(0));
    }
}
