//! Where a server stores: asked of the server itself, and written into its profile as `path` lines.
//!
//! | module | who is asked, or duty |
//! |---|---|
//! | [`cyrus`] | `imapd.conf` |
//! | [`dovecot`] | `doveconf`, below another root its files |
//! | [`postfix`] | `postconf`, below another root `main.cf` |
//! | [`exim`] | `exim -bP` |
//! | [`homes`] | `/etc/passwd`, where mail lies in home directories |
//! | [`told`] | what a server says |
//! | [`found`] | what is written of it, and said |
//!
//! A directory that a setting names is written even if it is not there, and that is said: a freeze
//! refuses it until it is. Of what nobody has set, and of the profile's usual directories, only those
//! are written that are there.

mod cyrus;
mod dovecot;
mod exim;
pub mod found;
mod homes;
mod postfix;
mod told;

use super::site::Site;
use crate::command::servers::{Server, Tells};
use found::{Directories, USUAL};
use told::Told;

/// Asks. `profile`: it names the usual directories.
pub fn find(site: &Site, server: &Server, profile: &str) -> Directories {
    let told = match server.tells {
        Tells::ImapdConf => cyrus::told(site),
        Tells::Doveconf => dovecot::told(site),
        Tells::Postconf => postfix::told(site),
        Tells::EximBp => exim::told(site),
        Tells::Nothing => None,
    };
    let usual = || {
        let lines = profile.lines().filter_map(|line| line.strip_prefix(USUAL));
        let usual = lines.map(|path| (path.trim().to_owned(), "usual for it".to_owned()));
        let untold = vec![format!(
            "{} could not be asked where it stores: what is usual for it was taken, as far as it is \
             there. See that all of its directories are named",
            server.title
        )];
        Told { usual: usual.collect(), untold, ..Told::default() }
    };
    let told = told.unwrap_or_else(usual);
    let there = |(path, _): &(String, String)| site.has_directory(path);
    let mut found = told.set;
    found.extend(told.usual.into_iter().filter(there));
    Directories::new(found, told.untold)
}
