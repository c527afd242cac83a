//! Why a process is not gated, in one sentence, and what cures it. Nothing is looked
//! up here: facts in, a sentence out. Those without the library are `unloaded`'s.

use super::facts::Facts;
use super::unloaded;
use gate::layout::LAYOUT;
use gate::profile::{self, Key};
use gate::region;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What holds for a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The gate holds it.
    Gated,
    /// It writes past the gate.
    NotGated,
    /// The profile leaves it out on purpose.
    LeftOut,
    /// It could not be looked into.
    Unknown,
}

/// The finding on one process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Judgement {
    /// What holds.
    pub state: State,
    /// A word for the reason, for machines.
    pub cause: &'static str,
    /// In one sentence; empty: nothing to say.
    pub reason: String,
    /// What to do.
    pub cure: String,
    /// What is not covered although it is gated.
    pub gaps: Vec<String>,
    /// Calls of the table that its libc lacks: nothing there to hook, or to call.
    pub lacks: Vec<&'static str>,
}

/// What must be known beside the process itself.
pub struct Around<'a> {
    /// The gate's name.
    pub gate: &'a str,
    /// Its directory.
    pub dir: &'a str,
    /// Why its page cannot be used, if it cannot.
    pub page_fault: Option<&'a str>,
    /// The layout of the page, where that was read.
    pub page_layout: Option<u32>,
    /// The page's inode.
    pub page_ino: u64,
    /// When the page was made, ns since 1970; 0: unknown.
    pub page_made_ns: u64,
    /// The profile in force.
    pub profile: &'a str,
    /// Facts of all that were looked at, by process.
    pub all: &'a BTreeMap<i32, Facts>,
    /// When the drop-in that loads the library was written, by unit.
    pub dropins: &'a BTreeMap<String, u64>,
    /// What the census knows of the region, by process.
    pub regions: &'a BTreeMap<i32, RegionSeen>,
}

/// A process's region.
#[derive(Clone, Debug, PartialEq)]
pub enum RegionSeen {
    /// Read: its flags, and calls that its libc lacks.
    Good(u32, Vec<&'static str>),
    /// There is none that this version understands.
    None,
    /// The kernel refused: the error.
    Denied(i32),
    /// It shares its parent's memory, and so its region (vfork).
    Shared,
    /// Forked, and nothing changed since: it makes a region of its own with its first change.
    Unborn,
}

/// A finding without gaps.
pub fn judged(
    state: State,
    cause: &'static str,
    reason: impl Into<String>,
    cure: impl Into<String>,
) -> Judgement {
    Judgement {
        state,
        cause,
        reason: reason.into(),
        cure: cure.into(),
        gaps: Vec::new(),
        lacks: Vec::new(),
    }
}

/// Judges one process.
pub fn judge(facts: &Facts, around: &Around<'_>) -> Judgement {
    if facts.hung {
        return judged(
            State::Unknown,
            "hung",
            "looking into it hangs: it is stuck in a fault or an mmap on a dead disk",
            "mend the disk, or end the process",
        );
    }
    if let Some(error) = facts.unseen {
        return unseen(error);
    }
    let present = facts.page.as_ref().is_some_and(|(_, ino)| *ino == around.page_ino);
    if present && around.page_fault.is_none() {
        return gated(facts, around);
    }
    if present && let Some(fault) = around.page_fault {
        return on_a_page_that_cannot_be_used(facts, around, fault);
    }
    if facts.library.is_some() { detached(facts, around) } else { unloaded::judge(facts, around) }
}

fn unseen(error: i32) -> Judgement {
    let what = std::io::Error::from_raw_os_error(error);
    judged(
        State::Unknown,
        "unseen",
        format!("its memory map may not be read by you ({what})"),
        "run this as root, with CAP_SYS_PTRACE (in a container: --cap-add SYS_PTRACE, or run it \
         on the host)",
    )
}

/// How this process is started anew.
pub fn restart(facts: &Facts) -> String {
    match unit_of(&facts.cgroup) {
        Some(unit) => format!("systemctl restart {unit}"),
        None => "restart the service".into(),
    }
}

fn other_clock() -> Judgement {
    judged(
        State::NotGated,
        "time-namespace",
        "it lives in a time namespace whose monotonic clock is not the host's: deadlines mean \
         nothing there",
        "start it without a time namespace, or with offset 0",
    )
}

/// It hears a command, and not this one.
fn on_a_page_that_cannot_be_used(facts: &Facts, around: &Around<'_>, fault: &str) -> Judgement {
    match around.page_layout.filter(|layout| *layout != LAYOUT) {
        Some(layout) => judged(
            State::NotGated,
            "other-layout",
            format!(
                "it maps the gate's page, which another version of writegate made (layout \
                 {layout:08x}, this command has {LAYOUT:08x}), and runs that version's library"
            ),
            format!("remove {}/control, then {}", around.dir, restart(facts)),
        ),
        None => judged(
            State::NotGated,
            "page",
            format!("the gate's page cannot be used: {fault}"),
            restart(facts),
        ),
    }
}

fn gated(facts: &Facts, around: &Around<'_>) -> Judgement {
    // Forked into such a namespace, it still has its parent's page until it execs.
    if facts.clock_offset {
        return other_clock();
    }
    match around.regions.get(&facts.pid) {
        Some(RegionSeen::Good(..))
            if server_of(facts) == Some("exim") && !facts.library_for_set_id =>
        {
            judged(
                State::NotGated,
                "deliveries-outside",
                "it is gated, but its deliveries re-execute the set-user-ID binary, where the \
                 loader does not take this library: they run outside the gate",
                "the library with mode 4755 in a standard library directory, add_environment in \
                 exim.conf (writegate setup exim), or the library in /etc/ld.so.preload",
            )
        }
        Some(RegionSeen::Good(flags, missing)) => {
            let mut good = judged(State::Gated, "gated", "", "");
            good.gaps = gaps(*flags);
            good.lacks = missing.clone();
            if facts.library_replaced {
                good.gaps.push(format!(
                    "runs the library of before an upgrade (its file was replaced); to get the \
                     new one: {}",
                    restart(facts)
                ));
            }
            good
        }
        Some(RegionSeen::Shared | RegionSeen::Unborn) => judged(State::Gated, "gated", "", ""),
        Some(RegionSeen::Denied(error)) => {
            let what = std::io::Error::from_raw_os_error(*error);
            judged(
                State::Unknown,
                "region-denied",
                format!("its region may be neither mapped nor read by you ({what})"),
                "run this as root with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE (in a container: \
                 add them, or run it on the host)",
            )
        }
        _ => judged(
            State::NotGated,
            "old-layout",
            "its region has a layout that this version does not know: the library was upgraded \
             under it",
            restart(facts),
        ),
    }
}

/// What a gated process can do past the gate, by what its region says.
pub fn gaps(flags: u32) -> Vec<String> {
    let known: [(u32, &str); 4] = [
        (
            region::FLAG_MAPS_SHARED,
            "has mapped a protected file shared and writable: stores into \
                                    it are not held",
        ),
        (region::FLAG_AIO, "has used aio: libc's helper threads write past the gate"),
        (region::FLAG_IO_URING, "has set up an io_uring: the kernel writes for it past the gate"),
        (
            region::FLAG_LOCKS_UNKNOWN,
            "has held more locks at once than its table has room for: \
                                      they are confirmed by the kernel's lists only",
        ),
    ];
    let known = known.iter().filter(|(flag, _)| flags & flag != 0);
    known.map(|(_, what)| (*what).to_owned()).collect()
}

/// Has the library, and hears nothing.
fn detached(facts: &Facts, around: &Around<'_>) -> Judgement {
    let not = |cause, reason: String, cure: String| judged(State::NotGated, cause, reason, cure);
    let control = format!("{}/control", around.dir);
    if let Some((path, _)) = &facts.page {
        let other = path.rsplit('/').nth(1).unwrap_or("?");
        if other != around.gate {
            return not(
                "other-gate",
                format!("it belongs to another gate, {other}"),
                format!("freeze both: writegate freeze -g {} -g {other}", around.gate),
            );
        }
        if let Some(root) = facts.chroot.as_ref().filter(|root| Path::new(path).starts_with(root)) {
            return not(
                "own-gate-in-chroot",
                format!(
                    "its root directory is {}, and it has made a gate of its own in there",
                    root.display()
                ),
                format!("let it see {}: a bind mount in the chroot", around.dir),
            );
        }
        if *path != control {
            return not(
                "other-gate",
                format!("it belongs to a gate {other} in another directory: {path}"),
                "WRITEGATE_DIR names the directory, for the service and for the command".into(),
            );
        }
        return not(
            "old-page",
            format!(
                "it maps a control page of gate {other} that was replaced since: it is detached"
            ),
            restart(facts),
        );
    }
    if facts.clock_offset {
        return other_clock();
    }
    let exe = facts.exe.as_ref().map(|exe| exe.to_string_lossy().into_owned()).unwrap_or_default();
    let mut programs = profile::values(around.profile, Key::Program).peekable();
    if programs.peek().is_some() && !programs.any(|p| profile::glob(p.as_bytes(), exe.as_bytes())) {
        return judged(
            State::LeftOut,
            "profile",
            "the profile's `program` lines do not name it",
            format!(
                "if it writes mail: `program = {exe}` in /etc/writegate/{}.conf, restart",
                around.gate
            ),
        );
    }
    if let Some(layout) = facts.library_layout.filter(|layout| layout.is_other()) {
        return not(
            "other-layout",
            format!(
                "its library is another version's ({}, this command has layout {LAYOUT:08x}): \
                 it does not take a page of this one",
                layout.name()
            ),
            restart(facts),
        );
    }
    if let Some(layout) = around.page_layout.filter(|layout| *layout != LAYOUT) {
        return not(
            "other-layout",
            format!(
                "the gate's page was made by another version of writegate (layout \
                 {layout:08x}), and its library does not take that"
            ),
            format!("remove {control}, then {}", restart(facts)),
        );
    }
    if let Some(fault) = around.page_fault {
        return not("page", format!("the gate's page cannot be used: {fault}"), restart(facts));
    }
    let wanted = facts.environ.as_ref().and_then(|e| e.get("WRITEGATE_GATE"));
    if facts.secure == Some(true) && around.gate != "default" {
        return not(
            "secure-gate",
            "it runs in secure mode, where WRITEGATE_GATE is not believed: it looks for gate \
             default in /run/writegate"
                .into(),
            "use the gate `default` for this service".into(),
        );
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted != around.gate) {
        return not(
            "other-gate",
            format!(
                "its environment asks for another gate, {wanted}, and it has found no page there"
            ),
            format!("WRITEGATE_GATE={} in its environment, then {}", around.gate, restart(facts)),
        );
    }
    if facts.page_hidden {
        let place = match &facts.chroot {
            Some(root) => format!("its root directory is {}", root.display()),
            None => "its mount namespace hides it (PrivateMounts, TemporaryFileSystem=/run, \
                     a container)"
                .into(),
        };
        return not(
            "page-hidden",
            format!("the gate's page {control} cannot be seen from inside: {place}"),
            format!(
                "let it see {}: BindReadOnlyPaths= in the unit, a bind mount in the chroot",
                around.dir
            ),
        );
    }
    if facts.boot_id_hidden {
        return not(
            "boot-id",
            "it cannot read /proc/sys/kernel/random/boot_id (ProcSubset=pid, a chroot without \
             /proc), by which it would know that the page is of this boot"
                .into(),
            "let it read /proc: ProcSubset=all in the unit".into(),
        );
    }
    if around.page_made_ns > facts.started_ns + 20_000_000 {
        return not(
            "page-younger",
            format!("it was started before the gate's page {control} was made"),
            restart(facts),
        );
    }
    not(
        "detached",
        "it has the library and does not map the gate's page; nothing that could be seen says why"
            .into(),
        format!("{}; if that does not help: is {control} readable for its user?", restart(facts)),
    )
}

/// The systemd unit of a control group.
pub fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find(|part| part.ends_with(".service"))
}

/// Which of the servers that we know this is, by its path.
pub fn server_of(facts: &Facts) -> Option<&'static str> {
    let exe = facts.exe.as_ref()?.to_string_lossy().into_owned();
    let known = [
        ("/cyrus/bin/", "cyrus"),
        ("/cyrmaster", "cyrus"),
        ("/dovecot", "dovecot"),
        ("/postfix/", "postfix"),
        ("/exim", "exim"),
    ];
    known.iter().find(|(part, _)| exe.contains(part)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::super::elf::Image;
    use super::super::facts::PreloadFault;
    use super::*;
    use crate::linux::library::LibraryLayout;

    fn judge_one(facts: Facts) -> Judgement {
        let all = BTreeMap::from([(
            1,
            Facts {
                pid: 1,
                program: "master".into(),
                library: Some("/l".into()),
                ..Facts::default()
            },
        )]);
        judge(
            &facts,
            &Around {
                gate: "mail",
                dir: "/run/writegate/mail",
                page_fault: None,
                page_layout: None,
                page_ino: 5,
                page_made_ns: 1000,
                profile: "",
                all: &all,
                dropins: &BTreeMap::from([("x.service".into(), 50_000_000_000)]),
                regions: &BTreeMap::from([(
                    7,
                    RegionSeen::Good(region::FLAG_AIO | region::FLAG_CALLS_MISSING, vec!["gets"]),
                )]),
            },
        )
    }

    fn plain() -> Facts {
        Facts {
            pid: 7,
            image: Some(Image { bits: 64, is_static: false, set_id: false }),
            secure: Some(false),
            environ: Some(BTreeMap::new()),
            started_ns: 9_000_000_000,
            ..Facts::default()
        }
    }

    #[test]
    fn gated_with_gaps() {
        let page = Some(("/run/writegate/mail/control".into(), 5));
        let good = judge_one(Facts { page, ..plain() });
        assert_eq!(good.state, State::Gated);
        assert_eq!((good.gaps.len(), good.lacks), (1, vec!["gets"]));
    }

    #[test]
    fn an_exim_whose_deliveries_are_outside_is_not_green() {
        let exim = |library_for_set_id| {
            let page = Some(("/run/writegate/mail/control".into(), 5));
            let exe = Some("/usr/sbin/exim4".into());
            judge_one(Facts { page, exe, library_for_set_id, ..plain() }).state
        };
        assert_eq!(exim(false), State::NotGated);
        assert_eq!(exim(true), State::Gated);
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        let library = || Some("/usr/lib/libwritegate.so".to_owned());
        let page = |path: &str| Some((path.to_owned(), 4));
        let image = |bits, is_static, set_id| Some(Image { bits, is_static, set_id });
        let asked = BTreeMap::from([("LD_PRELOAD".into(), "/l/libwritegate.so".into())]);
        for (cause, facts) in [
            ("hung", Facts { hung: true, ..plain() }),
            ("unseen", Facts { unseen: Some(libc::EACCES), ..plain() }),
            (
                "old-page",
                Facts { library: library(), page: page("/run/writegate/mail/control"), ..plain() },
            ),
            (
                "other-gate",
                Facts { library: library(), page: page("/run/writegate/b/control"), ..plain() },
            ),
            ("time-namespace", Facts { library: library(), clock_offset: true, ..plain() }),
            ("page-hidden", Facts { library: library(), page_hidden: true, ..plain() }),
            ("boot-id", Facts { library: library(), boot_id_hidden: true, ..plain() }),
            ("secure-gate", Facts { library: library(), secure: Some(true), ..plain() }),
            ("detached", Facts { library: library(), ..plain() }),
            (
                "other-layout",
                Facts {
                    library: library(),
                    library_layout: Some(LibraryLayout::Noted(LAYOUT ^ 1)),
                    ..plain()
                },
            ),
            (
                "other-layout",
                Facts {
                    library: library(),
                    library_layout: Some(LibraryLayout::Unmarked),
                    ..plain()
                },
            ),
            ("word-size", Facts { image: image(32, true, false), ..plain() }),
            ("static", Facts { image: image(64, true, false), ..plain() }),
            ("set-id", Facts { image: image(64, false, true), secure: Some(true), ..plain() }),
            (
                "library-missing",
                Facts { preload_fault: Some(PreloadFault::Missing("/l".into())), ..plain() },
            ),
            (
                "library-unreadable",
                Facts { preload_fault: Some(PreloadFault::Unreadable("/l".into())), ..plain() },
            ),
            (
                "confined",
                Facts {
                    environ: Some(asked.clone()),
                    label: Some("imapd (enforce)".into()),
                    ..plain()
                },
            ),
            ("not-loaded", Facts { environ: Some(asked), ..plain() }),
            ("scrubbed", Facts { parent: 1, ..plain() }),
            ("not-restarted", Facts { cgroup: "/system.slice/x.service".into(), ..plain() }),
            ("not-asked", plain()),
        ] {
            let got = judge_one(facts);
            assert_eq!(got.cause, cause, "{}", got.reason);
            assert_ne!(got.state, State::Gated);
            assert!(!got.reason.is_empty() && !got.cure.is_empty() && !got.reason.ends_with('.'));
        }
    }

    #[test]
    fn the_line_for_that_servers_configuration() {
        let of = |exe: &str| judge_one(Facts { parent: 1, exe: Some(exe.into()), ..plain() }).cure;
        assert!(of("/usr/lib/dovecot/imap").starts_with("dovecot.conf: import_environment"));
        assert!(of("/usr/lib/postfix/sbin/qmgr").starts_with("main.cf: import_environment"));
        assert!(of("/usr/sbin/exim4").starts_with("exim.conf: add_environment"));
    }
}
