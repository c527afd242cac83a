//! A control page that another version of writegate made: what maps it, and what to do.
//!
//! It is never touched: the processes that map it hear the command of their own version
//! through it, and would be detached by another page without a word.

use crate::foreign_text::ForeignText;
use crate::linux::helper::own_page;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::PageId;
use crate::linux::mapping::Mapping;
use crate::linux::procfs;
use crate::outcome::fault::{CONFIG, Fault};
use gate::control::{ControlPage, MAGIC, SIZE};
use gate::layout::LAYOUT;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// How many processes a message names.
const NAMED: usize = 8;

/// Such a page.
pub struct OtherLayout {
    /// Its layout.
    pub layout: u32,
    /// Its inode, as maps names it.
    pub ino: u64,
    /// The processes that map it, with their names.
    pub mapped_by: Vec<(i32, ForeignText)>,
}

impl OtherLayout {
    /// Of the page at this path; none if it is ours, or none at all.
    pub fn of(path: &Path) -> Option<OtherLayout> {
        let file = File::open(path).ok()?;
        let map = Mapping::to_look_at(&file, SIZE).ok()?;
        // What lies behind the end of a short file may not be touched.
        let long_enough = file.metadata().is_ok_and(|meta| meta.len() >= SIZE as u64);
        let page: &ControlPage = map.foreign().at(0).filter(|_| long_enough)?;
        let layout = page.layout.load(Relaxed);
        if page.magic.load(Acquire) != MAGIC || layout == LAYOUT {
            return None;
        }
        let id = own_page(map.address())?;
        Some(OtherLayout { layout, ino: id.ino, mapped_by: mapped_by(id) })
    }
}

fn mapped_by(page: PageId) -> Vec<(i32, ForeignText)> {
    let Ok(mut helper) = Helper::new(vec![page], Vec::new()) else { return Vec::new() };
    let me = std::process::id() as i32;
    let mut pids = procfs::pids().unwrap_or_default();
    pids.retain(|pid| *pid != me && *pid != helper.pid());
    let looked = helper.look(&pids);
    let mapping = looked.iter().filter(|(looked, _)| looked.maps_page);
    let named = |pid: i32| Some((pid, procfs::stat(pid)?.comm));
    mapping.filter_map(|(looked, _)| named(looked.pid)).collect()
}

/// Says so.
pub fn fault(path: &Path, layout: u32) -> Fault {
    let mapped_by = OtherLayout::of(path).map_or(Vec::new(), |other| other.mapped_by);
    let mut message = format!(
        "{} was made by another version of writegate (layout {layout:08x}; this command has \
         {LAYOUT:08x}); not used, and left as it is. ",
        path.display()
    );
    let units: BTreeSet<String> = mapped_by
        .iter()
        .filter_map(|(pid, _)| procfs::cgroup(*pid))
        .filter_map(|path| Some(path.rsplit('/').find(|part| part.ends_with(".service"))?.into()))
        .collect();
    let units = units.into_iter().collect::<Vec<_>>().join(" ");
    if mapped_by.is_empty() {
        message += "No process was seen to map it. ";
    } else {
        let named = mapped_by.iter().take(NAMED).map(|(pid, name)| format!("{pid} ({name})"));
        message += &format!("Mapped by {}", named.collect::<Vec<_>>().join(", "));
        if mapped_by.len() > NAMED {
            message += &format!(" and {} more", mapped_by.len() - NAMED);
        }
        message += ": they run that version's library until they are restarted. ";
    }
    message += &match (mapped_by.is_empty(), units.is_empty()) {
        (true, _) => format!("Remove it (rm {}) and restart the service", path.display()),
        (false, true) => format!("Stop them, remove it (rm {}), start them again", path.display()),
        (false, false) => {
            format!("systemctl stop {units}; rm {}; systemctl start {units}", path.display())
        }
    };
    Fault::new(CONFIG, message)
}
