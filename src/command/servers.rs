//! The table of the mail servers that are known: `setup`, `doctor`, `--help` and
//! `writegate setup --list` take every fact about a server from here.
//!
//! A new server needs
//!
//! 1. its row in [`SERVERS`],
//! 2. its profile, `profiles/NAME.conf`,
//! 3. its page `docs/admin/servers/NAME.md`, its row in `docs/admin/servers.md` and its name in that
//!    page's line on `scripts/evaluate`, its title in README.md's list,
//! 4. its folder of tests, which holds an `evaluate.py` and a `smoke.py`, and that smoke
//!    test's line in `scripts/test`;
//!
//! and only if its way of handing the library on is a new one a variant of [`Loading`],
//! a file in `setup/` that writes it, and a line in `doctor/cures.rs`. The compiler and
//! `tests/command/server_table.rs` say which of these is missing.

use super::unit_files;
use serde::Serialize;
use std::path::Path;

/// A server that is known.
#[derive(Serialize)]
pub struct Server {
    /// As it is called on the command line; profile and tests have this name too.
    pub name: &'static str,
    /// As documents call it.
    pub title: &'static str,
    /// Its systemd unit. Of several names the first one counts that is there and starts
    /// something; the last is the usual one.
    pub units: &'static [&'static str],
    /// One of these files is there if it is installed.
    pub signs: &'static [&'static str],
    /// A part of the path of each of its programs.
    pub programs: &'static [&'static str],
    /// Debian's packages.
    pub packages: &'static [&'static str],
    /// How the library gets into all of its processes.
    pub loading: Loading,
    /// What of it says where it stores.
    #[serde(skip)]
    pub tells: Tells,
    /// What an admin must know who has set it up.
    #[serde(skip)]
    pub notes: &'static [Note],
    /// Its profile.
    pub profile: &'static str,
}

/// How the library gets into all processes of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loading {
    /// The unit's environment reaches every process.
    Unit,
    /// The unit's environment reaches the master; Dovecot's import_environment hands it on.
    Dovecot,
    /// Only main.cf's import_environment: `postfix start` builds its environment from
    /// main.cf alone, so that the unit's reaches nothing.
    Postfix,
    /// The unit's environment reaches the daemon; deliveries are re-executed set-user-ID,
    /// where only add_environment in exim.conf reaches, and the gate is the default one.
    Exim,
    /// Only /etc/ld.so.preload, and the gate is the default one. `setup` does not do it.
    SystemWide,
}

/// What of a server says where it stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tells {
    /// Cyrus's `imapd.conf`.
    ImapdConf,
    /// Dovecot's `doveconf`.
    Doveconf,
    /// Postfix's `postconf`.
    Postconf,
    /// `exim -bP`.
    EximBp,
    /// Nothing that `setup` could ask: what is usual, as its profile has it.
    Nothing,
}

/// Something that must be known after a set-up.
pub struct Note {
    /// Said where one of these files is there; none: always.
    pub if_there: &'static [&'static str],
    /// What; `GATE` stands for the gate's name.
    pub text: &'static str,
}

macro_rules! profile {
    ($name:literal) => {
        include_str!(concat!("../../profiles/", $name, ".conf"))
    };
}

/// All of them, in the order in which documents list them.
pub const SERVERS: [Server; 7] = [
    Server {
        name: "cyrus",
        title: "Cyrus",
        units: &["cyrus-imapd.service"],
        signs: &["/usr/lib/cyrus/bin/master", "/usr/sbin/cyrmaster", "/etc/imapd.conf"],
        programs: &["/cyrus/bin/", "/cyrmaster"],
        packages: &["cyrus-imapd", "cyrus-common"],
        loading: Loading::Unit,
        tells: Tells::ImapdConf,
        notes: &[
            Note {
                if_there: &[],
                text: "cron jobs and shell tools run outside the gate: `writegate exec -g GATE -- \
                       cyr_expire ...`",
            },
            Note {
                if_there: &["/usr/lib/cyrus/bin/cyr_withlock_run", "/usr/sbin/cyr_withlock_run"],
                text: "this Cyrus has a lock of its own, cyr_withlock_run: without a time limit, for \
                       Cyrus alone, and it may starve on a busy server. The gate works beside it; do \
                       not nest them",
            },
        ],
        profile: profile!("cyrus"),
    },
    Server {
        name: "dovecot",
        title: "Dovecot",
        units: &["dovecot.service"],
        signs: &["/etc/dovecot/dovecot.conf"],
        programs: &["/dovecot"],
        packages: &["dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-pop3d"],
        loading: Loading::Dovecot,
        tells: Tells::Doveconf,
        notes: &[],
        profile: profile!("dovecot"),
    },
    Server {
        name: "postfix",
        title: "Postfix",
        // Debian 11's and 12's postfix.service runs /bin/true; the server is an instance.
        units: &["postfix.service", "postfix@-.service"],
        signs: &["/etc/postfix/main.cf"],
        programs: &["/postfix/"],
        packages: &["postfix"],
        loading: Loading::Postfix,
        tells: Tells::Postconf,
        notes: &[],
        profile: profile!("postfix"),
    },
    Server {
        name: "exim",
        title: "Exim",
        // Older Debian packages call it exim.service.
        units: &["exim.service", "exim4.service"],
        signs: &["/usr/sbin/exim4", "/etc/exim4/exim4.conf.template", "/etc/exim4/exim4.conf"],
        programs: &["/exim"],
        packages: &["exim4-daemon-light"],
        loading: Loading::Exim,
        tells: Tells::EximBp,
        notes: &[],
        profile: profile!("exim"),
    },
    Server {
        name: "opensmtpd",
        title: "OpenSMTPD",
        units: &["opensmtpd.service"],
        signs: &["/etc/smtpd.conf"],
        programs: &["/usr/sbin/smtpd", "/opensmtpd/"],
        packages: &["opensmtpd"],
        loading: Loading::SystemWide,
        tells: Tells::Nothing,
        notes: &[],
        profile: profile!("opensmtpd"),
    },
    Server {
        name: "sendmail",
        title: "Sendmail",
        units: &["sendmail.service"],
        signs: &["/etc/mail/sendmail.cf"],
        programs: &["/libexec/sendmail/", "/sm.bin/"],
        packages: &["sendmail-bin", "procmail"],
        loading: Loading::SystemWide,
        tells: Tells::Nothing,
        notes: &[],
        profile: profile!("sendmail"),
    },
    Server {
        name: "courier",
        title: "Courier",
        units: &["courier.service"],
        signs: &["/etc/courier/courierd"],
        programs: &["/lib/courier/"],
        packages: &["courier-mta", "courier-base", "maildrop"],
        loading: Loading::SystemWide,
        tells: Tells::Nothing,
        notes: &[],
        profile: profile!("courier"),
    },
];

impl Server {
    /// Does `writegate setup` set it up?
    pub fn has_setup(&self) -> bool {
        self.loading != Loading::SystemWide
    }

    /// Its unit, among those below this root directory.
    pub fn unit(&self, root: &Path) -> &'static str {
        let there = |unit: &&&str| {
            let files = unit_files::files(root, unit);
            !files.is_empty() && !unit_files::starts_nothing(&unit_files::settings(&files))
        };
        self.units.iter().find(there).or(self.units.last()).copied().unwrap_or_default()
    }

    /// The gate that its processes look for, if they can be told of no other.
    pub fn only_gate(&self) -> Option<&'static str> {
        matches!(self.loading, Loading::Exim | Loading::SystemWide).then_some("default")
    }

    /// Is this one of its programs?
    pub fn runs(&self, exe: &Path) -> bool {
        let exe = exe.to_string_lossy();
        self.programs.iter().any(|part| exe.contains(part))
    }
}

/// The server whose program this is.
pub fn of_program(exe: &Path) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.runs(exe))
}

/// Those that `writegate setup` sets up.
pub fn with_setup() -> impl Iterator<Item = &'static Server> {
    SERVERS.iter().filter(|server| server.has_setup())
}

/// Names, for a sentence.
pub fn names<'a>(servers: impl IntoIterator<Item = &'a Server>) -> String {
    let names: Vec<_> = servers.into_iter().map(|server| server.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_one_servers() {
        for (exe, name) in [
            ("/usr/lib/cyrus/bin/imapd", "cyrus"),
            ("/usr/sbin/cyrmaster", "cyrus"),
            ("/usr/lib/dovecot/imap", "dovecot"),
            ("/usr/sbin/dovecot", "dovecot"),
            ("/usr/lib/postfix/sbin/smtpd", "postfix"),
            ("/usr/sbin/exim4", "exim"),
            ("/usr/sbin/smtpd", "opensmtpd"),
            ("/usr/libexec/opensmtpd/mail.maildir", "opensmtpd"),
            ("/usr/libexec/sendmail/sendmail", "sendmail"),
            ("/usr/lib/courier/courier/courierd", "courier"),
        ] {
            let of: Vec<_> = SERVERS.iter().filter(|s| s.runs(Path::new(exe))).collect();
            assert_eq!(names(of), name, "{exe}");
        }
        assert!(of_program(Path::new("/usr/sbin/sendmail")).is_none(), "whose it is, nobody knows");
    }
}
