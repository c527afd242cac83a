//! What the names of directories stand for: looked up in the mount namespace and below the root of
//! the service, at this very moment; and what is mounted below them.

use super::kind::{Kind, stores};
use super::named::{self, AllNamed, NamedBy};
use super::{Missing, Place, Places};
use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::directory::{self, FileId, NotOpened};
use crate::linux::helper::owner::Helper;
use crate::linux::look::WhyNot;
use crate::linux::procfs;
use crate::linux::procfs::bounded::Extent;
use crate::linux::procfs::mounts::mounts;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mount namespace of the service, with a process to look through: the oldest, since a master
/// stands outside of its workers' chroots.
struct View {
    /// 0: it sees what we see.
    pid: i32,
}

impl View {
    /// Of a process in this mount namespace; of one that may not be asked nothing is known.
    fn of(namespace: &Path, pid: i32) -> View {
        let unknown = namespace.as_os_str().is_empty();
        View { pid: if unknown || procfs::sees_as_we_do(pid) { 0 } else { pid } }
    }
}

impl Places {
    /// Finds out what gate `at` protects. `by_freezer`: as it was told; `profile`: the one in force;
    /// `stop`: a signal has come.
    pub fn find(
        census: &mut Census,
        at: usize,
        helper: &mut Helper,
        (by_freezer, profile): (&[PathBuf], &str),
        stop: &dyn Fn() -> bool,
    ) -> Places {
        let all = named::ask(census, at, helper, (by_freezer, profile), stop);
        Places::look_up(all, &views(census, at), helper, profile)
    }

    /// The same of processes that have no gate: none of them is asked.
    pub fn of_processes(
        pids: &[i32],
        by_freezer: &[PathBuf],
        profile: &str,
        helper: &mut Helper,
    ) -> Places {
        let mut oldest: BTreeMap<PathBuf, i32> = BTreeMap::new();
        for pid in pids {
            let namespace = procfs::mount_namespace(*pid).unwrap_or_default();
            oldest.entry(namespace).or_insert(*pid);
        }
        let views: Vec<View> =
            oldest.iter().map(|(namespace, pid)| View::of(namespace, *pid)).collect();
        Places::look_up(AllNamed::without_asking(by_freezer, profile), &views, helper, profile)
    }

    fn look_up(all: AllNamed, views: &[View], helper: &mut Helper, profile: &str) -> Places {
        let mut places = Places {
            profile: profile.to_owned(),
            own_exclude: all.exclude,
            unread: all.unread,
            ..Places::default()
        };
        let mut known: HashSet<FileId> = HashSet::new();
        let mut seen_by: Vec<(i32, PathBuf)> = Vec::new();
        for (dir, by) in &all.dirs {
            let mut why: Option<NotOpened> = None;
            let mut found = false;
            for view in views {
                match helper.open(view.pid, dir).and_then(|at| place(at, view.pid)) {
                    Ok(at) => {
                        found = true;
                        seen_by.push((view.pid, at.path.clone()));
                        places.dirs.extend(Some(at).filter(|at| known.insert(at.id)));
                    }
                    // Of what this one sees; another one may see more.
                    Err(not) => why = why.filter(|before| !before.is_absence()).or(Some(not)),
                }
            }
            // What an admin names may be said as the admin sees it.
            if !found
                && *by == NamedBy::Freezer
                && let Ok(at) = helper.open(0, dir).and_then(|at| place(at, 0))
            {
                found = true;
                seen_by.push((0, at.path.clone()));
                places.dirs.extend(Some(at).filter(|at| known.insert(at.id)));
            }
            let path = ForeignText::of_path(dir);
            match why {
                // One view has it, and of another that cannot be told.
                Some(why) if found && !why.is_absence() => places.not_looked_at.push((path, why)),
                _ if found => {}
                why => {
                    let why = why.unwrap_or(NotOpened::RootGone);
                    places.missing.push(Missing { path, by: *by, why });
                }
            }
        }
        places.look_below(&seen_by, &mut known, helper);
        places.look_at_exports(helper);
        places
    }

    /// What is mounted below the directories, as each view has found them.
    fn look_below(
        &mut self,
        seen_by: &[(i32, PathBuf)],
        known: &mut HashSet<FileId>,
        helper: &mut Helper,
    ) {
        let mut by_view: BTreeMap<i32, Vec<&Path>> = BTreeMap::new();
        for (view, path) in seen_by {
            by_view.entry(*view).or_default().push(path);
        }
        for (view, dirs) in by_view {
            let us = std::process::id() as i32;
            let found = match mounts(if view == 0 { us } else { view }) {
                Ok((found, Extent::Whole)) => found,
                Ok((_, Extent::CutOff)) => {
                    self.not_looked_at.push(("/".into(), NotOpened::Why(WhyNot::TooMuch)));
                    continue;
                }
                Err(e) => {
                    self.not_looked_at.push(("/".into(), NotOpened::Why(WhyNot::of(&e))));
                    continue;
                }
            };
            let is_below =
                |point: &Path| dirs.iter().any(|dir| point.starts_with(dir) && point != *dir);
            for mount in found.iter().filter(|mount| stores(&mount.kind) && is_below(&mount.point))
            {
                match helper.open(view, &mount.point).and_then(|at| place(at, view)) {
                    Ok(at) => self.below.extend(Some(at).filter(|at| known.insert(at.id))),
                    Err(why) => {
                        self.not_looked_at.push((ForeignText::of_path(&mount.point), why));
                    }
                }
            }
        }
    }
}

fn place((path, fd): (PathBuf, OwnedFd), seen_by: i32) -> Result<Place, NotOpened> {
    let file = File::from(fd);
    let id = directory::id(&file).map_err(|e| NotOpened::Why(WhyNot::Errno(e as i32)))?;
    // One that cannot be asked may be anything.
    let kind = Kind::of(&file).unwrap_or(Kind::Shared("unknown"));
    Ok(Place { path, file: Arc::new(file), id, kind, seen_by })
}

/// One view of each mount namespace that processes of the service are in: of those that no ordinary
/// user controls, where there are any.
fn views(census: &Census, at: usize) -> Vec<View> {
    let mut oldest: BTreeMap<PathBuf, (bool, u64, i32)> = BTreeMap::new();
    for member in census.alive(at) {
        // One that may not be asked is taken to be where we are.
        let namespace = procfs::mount_namespace(member.pid).unwrap_or_default();
        let rank = (!census.services[at].is_trusted(member.pid), member.stat.start, member.pid);
        let first = oldest.entry(namespace).or_insert(rank);
        *first = (*first).min(rank);
    }
    let any_trusted = oldest.values().any(|(untrusted, ..)| !untrusted);
    let views = oldest.into_iter().filter(|(_, (untrusted, ..))| !(any_trusted && *untrusted));
    views.map(|(namespace, (.., pid))| View::of(&namespace, pid)).collect()
}
