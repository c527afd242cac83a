//! Exim: `exim -bP`, its spool and the transports that a router names.

use super::homes;
use super::told::Told;
use crate::command::setup::server_tool;
use crate::command::setup::site::Site;
use std::collections::BTreeSet;

const PROGRAMS: [&str; 2] = ["exim4", "exim"];
/// A router's options that name a transport.
const TRANSPORTS: [&str; 3] = ["transport", "file_transport", "directory_transport"];
const HOME: [&str; 2] = ["$home", "${home}"];

/// What it says.
pub fn told(site: &Site) -> Option<Told> {
    let ask = |what| server_tool::ask(site, &PROGRAMS, &["-bP", what]);
    let mut told = Told::default();
    let spool = ask("spool_directory")?;
    let (_, spool) = spool.split_once('=')?;
    told.take("spool_directory", spool.trim(), &['$']);
    let routers = ask("routers").unwrap_or_default();
    let used: BTreeSet<&str> = settings(&routers)
        .filter(|(_, name, _)| TRANSPORTS.contains(name))
        .map(|(_, _, value)| value)
        .collect();
    let transports = ask("transports").unwrap_or_default();
    take_transports(&transports, &used, &mut told, |setting, told| {
        homes::take(site, setting, told)
    });
    Some(told)
}

/// Takes where the transports that are in use write.
fn take_transports(
    text: &str,
    used: &BTreeSet<&str>,
    told: &mut Told,
    in_homes: impl Fn(&str, &mut Told),
) {
    // A name that is made for each message may be any.
    let any = used.iter().any(|name| name.contains('$'));
    for (of, name, value) in settings(text) {
        let is_place = matches!(name, "file" | "directory") && !value.is_empty();
        if !is_place || !any && !used.contains(of) {
            continue;
        }
        let setting = format!("{of}: {name}");
        if HOME.iter().any(|home| value.starts_with(home)) {
            in_homes(&setting, told);
        } else {
            told.take(&setting, value, &['$']);
        }
    }
}

/// What `-bP` lists of drivers: whose setting, its name, its value.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut of = "";
    text.lines().filter_map(move |line| {
        if let Some((name, kind)) = line.split_once(' ')
            && matches!(kind, "transport:" | "router:")
        {
            of = name;
            return None;
        }
        let (name, value) = line.split_once('=')?;
        Some((of, name.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSPORTS: &str = "mail_spool transport:\ndriver = appendfile\n\
        directory = \nfile = /var/mail/$local_part_data\n\n\
        maildir_home transport:\ndirectory = $home/Maildir\nfile = \n\n\
        virtual transport:\ndirectory = ${lookup{$domain}lsearch{/etc/domains}}\n";

    fn of(used: &[&str]) -> (Told, Vec<String>) {
        let mut told = Told::default();
        let homes = std::cell::RefCell::new(Vec::new());
        let used = used.iter().copied().collect();
        take_transports(TRANSPORTS, &used, &mut told, |setting, _| {
            homes.borrow_mut().push(setting.to_owned());
        });
        (told, homes.into_inner())
    }

    #[test]
    fn transports_that_no_router_names_are_not_asked() {
        let (told, homes) = of(&["mail_spool"]);
        assert_eq!(told.set, [("/var/mail".to_owned(), "mail_spool: file".to_owned())]);
        assert!(homes.is_empty() && told.untold.is_empty());
        let (told, homes) = of(&["maildir_home", "virtual"]);
        assert_eq!((told.set.len(), homes), (0, vec!["maildir_home: directory".to_owned()]));
        assert!(told.untold[0].contains("virtual: directory"), "{:?}", told.untold);
        assert_eq!(of(&["${lookup}"]).1.len(), 1, "it may be any of them");
    }

    #[test]
    fn a_routers_transports_are_found() {
        let text = "local_user router:\ndriver = accept\ntransport = mail_spool\nno_more\n";
        let found: Vec<_> = settings(text).collect();
        assert_eq!(found[1], ("local_user", "transport", "mail_spool"));
    }
}
