//! `/proc/PID/mountinfo`: what is mounted where, as a process sees it.

use super::bounded::{self, Bounds, Extent};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A machine may have 100,000 mounts (fs.mount-max): some 200 bytes each.
const BOUNDS: Bounds = Bounds { bytes: 32 << 20, ns: 500_000_000 };

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Where, below the process's root.
    pub point: PathBuf,
    /// The kind of its file system, as the kernel calls it.
    pub kind: String,
}

/// All mounts that a process can reach; whether that is all of them.
pub fn mounts(pid: i32) -> io::Result<(Vec<Mount>, Extent)> {
    let mut found = Vec::new();
    let extent = bounded::lines(&format!("/proc/{pid}/mountinfo"), BOUNDS, |line| {
        found.extend(parse(line));
    })?;
    Ok((found, extent))
}

/// Is a file system of this device (as the kernel's lists have it) mounted where this process can reach it?
/// None: that cannot be told.
pub fn reaches_device(pid: i32, device: (u32, u32)) -> Option<bool> {
    let mut found = false;
    let extent = bounded::lines(&format!("/proc/{pid}/mountinfo"), BOUNDS, |line| {
        found |= device_of(line) == Some(device);
    });
    match extent {
        Ok(Extent::Whole) => Some(found),
        Ok(Extent::CutOff) | Err(_) => found.then_some(true),
    }
}

/// The device of the mount that this line is of.
pub fn device_of(line: &[u8]) -> Option<(u32, u32)> {
    let device = std::str::from_utf8(line.split(|byte| *byte == b' ').nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What a mount shows, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its number: what is opened through it says so.
    pub number: u64,
    /// Its file system, as the kernel's lists have it.
    pub device: (u32, u32),
    /// Which part of that, from its top.
    pub part: PathBuf,
    /// Where, below the process's root.
    pub point: PathBuf,
    /// Where what is changed through it is put down in truth: of what is laid over other file systems.
    pub changes: Changes,
}

/// See [`Shown::changes`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changes {
    /// In the part that it shows.
    Here,
    /// In this directory, as whoever mounted it named it (an overlay's upper one).
    In(PathBuf),
    /// Nowhere: an overlay without an upper directory.
    Nowhere,
    /// That is not told.
    NotTold,
}

/// Those that are laid over others, but for overlay, which tells what over what. (And any FUSE may be.)
const LAID_OVER: [&[u8]; 4] = [b"aufs", b"ecryptfs", b"shiftfs", b"unionfs"];

/// What the mount with this number shows, as this process sees it. None: it does not see that mount, or
/// the list cannot be read.
pub fn shown_by(pid: i32, number: u64) -> Option<Shown> {
    let mut found = None;
    bounded::lines(&format!("/proc/{pid}/mountinfo"), BOUNDS, |line| {
        found = found.take().or_else(|| shown(line).filter(|shown| shown.number == number));
    })
    .ok()?;
    found
}

/// What all mounts show that this process can reach. None: that is too much, or cannot be read.
pub fn all_shown(pid: i32) -> Option<Vec<Shown>> {
    let mut found = Vec::new();
    let extent = bounded::lines(&format!("/proc/{pid}/mountinfo"), BOUNDS, |line| {
        found.extend(shown(line));
    });
    extent.is_ok_and(|extent| extent == Extent::Whole).then_some(found)
}

/// What all mounts show that such a list tells.
pub fn all_told_by(list: &[u8]) -> Vec<Shown> {
    list.split(|byte| *byte == b'\n').filter_map(shown).collect()
}

fn number_of(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()
}

fn shown(line: &[u8]) -> Option<Shown> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let path = |text: &[u8]| PathBuf::from(OsString::from_vec(unescape(text)));
    let part = path(fields.next()?);
    let point = path(fields.next()?);
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let changes = changes(fields.next()?, fields.nth(1));
    Some(Shown { number: number_of(line)?, device: device_of(line)?, part, point, changes })
}

/// Does a program answer for what is mounted? It may show a directory of this machine's (bindfs). Not the one
/// that shows files of `/proc` in each LXC container.
fn is_a_programs(kind: &[u8]) -> bool {
    kind == b"fuse" || kind.starts_with(b"fuse.") && kind != b"fuse.lxcfs"
}

/// By the kind of its file system and the options that that has.
fn changes(kind: &[u8], options: Option<&[u8]>) -> Changes {
    if LAID_OVER.contains(&kind) || is_a_programs(kind) {
        return Changes::NotTold;
    }
    if kind != b"overlay" {
        return Changes::Here;
    }
    let Some(options) = options else { return Changes::NotTold };
    let mut options = options.split(|byte| *byte == b',');
    match options.find_map(|option| option.strip_prefix(b"upperdir=")) {
        Some(upper) => Changes::In(OsString::from_vec(unescape(upper)).into()),
        None => Changes::Nowhere,
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        point: OsString::from_vec(unescape(point)).into(),
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        let digits = more.get(..3).filter(|_| *first == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &more[3..];
            }
            None => {
                plain.push(*first);
                rest = more;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_mounted_nowhere_is_not_reached() {
        let here = std::process::id() as i32;
        let of_proc = nix::sys::stat::stat("/proc/self").unwrap().st_dev;
        let device = (libc::major(of_proc), libc::minor(of_proc));
        assert_eq!(reaches_device(here, device), Some(true));
        assert_eq!(reaches_device(here, (4095, 77)), Some(false));
        assert_eq!(reaches_device(i32::MAX, device), None, "there is no such process");
        assert_eq!(device_of(b"36 35 98:12 /mnt1 /mnt2 rw - ext3 /dev/root rw"), Some((98, 12)));
        assert_eq!(device_of(b"36 35 /mnt1"), None);
    }

    #[test]
    fn a_mount_with_a_blank_in_its_name() {
        let line = br"36 35 98:0 / /srv/my\040mail rw,noatime master:1 shared:2 - ext4 /dev/x rw";
        let mount = Mount { point: "/srv/my mail".into(), kind: "ext4".into() };
        assert_eq!(parse(line), Some(mount));
        assert_eq!(parse(b"36 35 98:0 / /srv"), None);
        let line = br"36 35 98:0 /a\040b /mnt rw - ext4 /dev/x rw";
        let (part, point) = ("/a b".into(), "/mnt".into());
        let is = Shown { number: 36, device: (98, 0), part, point, changes: Changes::Here };
        assert_eq!(shown(line), Some(is));
        let over = |kind: &str, options| {
            shown(format!("36 35 0:50 / / rw - {kind} x {options}").as_bytes())
        };
        let put_down = |kind, options| over(kind, options).map(|shown| shown.changes);
        let layers = "rw,lowerdir=/l/A:/l/B,upperdir=/d/1\\040x/diff,workdir=/d/1/work";
        assert_eq!(put_down("overlay", layers), Some(Changes::In("/d/1 x/diff".into())));
        assert_eq!(put_down("overlay", "ro,lowerdir=/l/A:/l/B"), Some(Changes::Nowhere));
        assert_eq!(put_down("aufs", "rw,si=1"), Some(Changes::NotTold));
        let by_programs = ["fuse", "fuse.bindfs"].map(|kind| put_down(kind, "rw"));
        assert_eq!(by_programs, [Some(Changes::NotTold), Some(Changes::NotTold)]);
        let others = ["fuse.lxcfs", "fuseblk", "fusectl"].map(|kind| put_down(kind, "rw"));
        assert_eq!(others, [Some(Changes::Here), Some(Changes::Here), Some(Changes::Here)]);
        assert_eq!(shown(b"36 35 98:0 /a"), None);
        let (all, extent) = mounts(std::process::id() as i32).unwrap();
        assert!(extent == Extent::Whole && all.iter().any(|mount| mount.kind == "proc"));
    }
}
