//! What each server needs: how it is known, its unit, its profile, its own setting.

use super::plan::{Change, Site};
use super::{block, dovecot, exim, postfix};
use crate::command::doctor::unit;
use crate::outcome::fault::{CONFIG, Fault, Result};
use std::path::Path;

/// A server that we know.
pub struct Server {
    /// Its name here.
    pub name: &'static str,
    /// Its systemd unit.
    pub unit: &'static str,
    /// One of these is there if it is installed.
    pub signs: &'static [&'static str],
    /// Its profile.
    pub profile: &'static str,
    /// LD_PRELOAD in its unit reaches at least its first process.
    pub dropin: bool,
}

/// All of them.
pub const SERVERS: [Server; 4] = [
    Server {
        name: "cyrus",
        unit: "cyrus-imapd.service",
        signs: &["/usr/lib/cyrus/bin/master", "/usr/sbin/cyrmaster", "/etc/imapd.conf"],
        profile: include_str!("../../../profiles/cyrus.conf"),
        dropin: true,
    },
    Server {
        name: "dovecot",
        unit: "dovecot.service",
        signs: &["/etc/dovecot/dovecot.conf"],
        profile: include_str!("../../../profiles/dovecot.conf"),
        dropin: true,
    },
    Server {
        name: "postfix",
        unit: "postfix.service",
        signs: &["/etc/postfix/main.cf"],
        profile: include_str!("../../../profiles/postfix.conf"),
        // `postfix start` builds its environment from main.cf alone.
        dropin: false,
    },
    Server {
        name: "exim",
        unit: "exim4.service",
        signs: &["/usr/sbin/exim4", "/etc/exim4/exim4.conf.template", "/etc/exim4/exim4.conf"],
        profile: include_str!("../../../profiles/exim.conf"),
        dropin: true,
    },
];

/// What the set-up is made with.
pub struct With<'a> {
    /// The gate.
    pub gate: &'a str,
    /// The library's path, as the service will see it.
    pub library: &'a str,
    /// This command's path, as the service will see it.
    pub command: &'a str,
    /// The root is this machine's own: its programs may be asked.
    pub here: bool,
}

/// What is to be done, and to be said.
pub struct Plan {
    /// Files.
    pub changes: Vec<Change>,
    /// What must be run afterwards.
    pub then: Vec<String>,
    /// What the admin must know.
    pub notes: Vec<String>,
}

impl Server {
    /// Is it installed there?
    pub fn is_there(&self, site: &Site) -> bool {
        self.signs.iter().any(|sign| site.at(sign).exists())
    }

    /// The plan for it.
    pub fn plan(&self, site: &Site, root: &Path, with: &With<'_>) -> Result<Plan> {
        if !self.is_there(site) {
            return Err(Fault::new(
                CONFIG,
                format!("no {} here: none of {} exists", self.name, self.signs.join(", ")),
            ));
        }
        let mut plan = common(site, self.name, with, self.profile)?;
        let unit = match self.name {
            // Older Debian packages call it so.
            "exim" if !unit::files(root, "exim.service").is_empty() => "exim.service",
            _ => self.unit,
        };
        if self.dropin {
            plan.changes.push(dropin(root, unit, self.name, with)?);
            plan.then.push("systemctl daemon-reload".into());
        }
        match self.name {
            "cyrus" => cyrus(site, &mut plan, with),
            "dovecot" => dovecot::add(site, &mut plan, with)?,
            "postfix" => postfix::add(site, &mut plan, with)?,
            _ => exim::add(site, &mut plan, with)?,
        }
        plan.then.push(format!("systemctl restart {unit}"));
        plan.then.push(format!("writegate doctor {unit} -g {}", with.gate));
        Ok(plan)
    }
}

/// The plan for a unit that we do not know.
pub fn unknown(site: &Site, root: &Path, unit: &str, with: &With<'_>) -> Result<Plan> {
    let files = unit::files(root, unit);
    if files.is_empty() {
        let known: Vec<_> = SERVERS.iter().map(|server| server.name).collect();
        return Err(Fault::new(
            CONFIG,
            format!("there is no unit {unit}, and it is none of {}", known.join(", ")),
        ));
    }
    let name = unit.trim_end_matches(".service");
    let profile = "# writegate profile. Nothing is known about this service; keys, one value a line: path,\n\
                   # exclude, lifetime-lock, program, parkable, new-files, settled, record, until-wait,\n\
                   # until-exit, first, first-wait, hand-over, hand-over-to.\n\
                   # Protected directories, if not every file system on storage is meant:\n\
                   # path = /srv/data\n";
    let mut plan = common(site, name, with, profile)?;
    plan.changes.push(dropin(root, unit, name, with)?);
    plan.notes.push(
        "nothing is known about this service: `writegate rehearse` shows whether it drains, \
         `writegate doctor` whether all its processes are gated"
            .into(),
    );
    plan.then.push("systemctl daemon-reload".into());
    plan.then.push(format!("systemctl restart {unit}"));
    plan.then.push(format!("writegate doctor {unit} -g {}", with.gate));
    Ok(plan)
}

/// The gate's configuration and directory.
fn common(site: &Site, name: &str, with: &With<'_>, profile: &str) -> Result<Plan> {
    let gate = with.gate;
    let conf = format!("/etc/writegate/{gate}.conf");
    let now = site.read(&conf)?.unwrap_or_default();
    // A profile is there to be edited: one that stands is never written over.
    let after = match block::find(&now, name) {
        Some(_) => now,
        None => block::append(&now, name, profile),
    };
    let tmpfiles = format!(
        "# Made by `writegate setup {name}`; --remove takes it away.\n\
         d /run/writegate 0755 root root -\n\
         d /run/writegate/{gate} 0755 root root -\n"
    );
    Ok(Plan {
        changes: vec![
            Change { path: conf, after, whole: false },
            Change {
                path: format!("/etc/tmpfiles.d/writegate-{name}.conf"),
                after: tmpfiles,
                whole: true,
            },
        ],
        then: vec![format!("systemd-tmpfiles --create /etc/tmpfiles.d/writegate-{name}.conf")],
        notes: Vec::new(),
    })
}

/// The unit's drop-in.
fn dropin(root: &Path, unit: &str, name: &str, with: &With<'_>) -> Result<Change> {
    let path = format!("/etc/systemd/system/{unit}.d/writegate.conf");
    let others: Vec<_> = unit::files(root, unit)
        .into_iter()
        .filter(|file| !file.ends_with(path.trim_start_matches('/')))
        .collect();
    let settings = unit::settings(&others);
    let environment = settings.get("Environment").cloned().unwrap_or_default();
    if let Some(theirs) = environment.iter().find(|value| value.contains("LD_PRELOAD=")) {
        let merged = format!("{}:{}", with.library, value_of(theirs));
        return Err(Fault::new(
            CONFIG,
            format!(
                "{unit} sets LD_PRELOAD already ({theirs}): not overwritten. Put the library in \
                 front of it there, `LD_PRELOAD={merged}`, and add WRITEGATE_GATE={}",
                with.gate
            ),
        ));
    }
    let after = format!(
        "# Made by `writegate setup {name}`; --remove takes it away.\n\
         [Service]\n\
         Environment=LD_PRELOAD={}\n\
         Environment=WRITEGATE_GATE={}\n\
         # Makes the gate's page where the service itself may not; a failure stops nothing.\n\
         ExecStartPre=+-{} exec -g {} -- /bin/true\n",
        with.library, with.gate, with.command, with.gate
    );
    Ok(Change { path, after, whole: true })
}

fn value_of(assignment: &str) -> &str {
    let rest = assignment.split("LD_PRELOAD=").nth(1).unwrap_or("");
    rest.split(['"', '\'', ' ']).next().unwrap_or("")
}

fn cyrus(site: &Site, plan: &mut Plan, with: &With<'_>) {
    plan.notes.push(format!(
        "cron jobs and shell tools run outside the gate: `writegate exec -g {} -- cyr_expire ...`",
        with.gate
    ));
    let own = ["/usr/lib/cyrus/bin/cyr_withlock_run", "/usr/sbin/cyr_withlock_run"];
    if own.iter().any(|path| site.at(path).exists()) {
        plan.notes.push(
            "this Cyrus has a lock of its own, cyr_withlock_run: without a time limit, for Cyrus \
             alone, and it may starve on a busy server. The gate works beside it; do not nest them"
                .into(),
        );
    }
}
