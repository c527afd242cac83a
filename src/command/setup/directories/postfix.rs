//! Postfix: `postconf` of each instance; below another root its `main.cf`.

use super::homes;
use super::told::Told;
use crate::command::setup::instances;
use crate::command::setup::main_cf::setting;
use crate::command::setup::server_tool;
use crate::command::setup::site::Site;

/// What is asked for, in this order, and what it is where nobody sets it.
const ASKED: [(&str, &str); 5] = [
    ("queue_directory", "/var/spool/postfix"),
    ("virtual_mailbox_base", ""),
    ("mail_spool_directory", "/var/mail"),
    ("home_mailbox", ""),
    ("mailbox_transport", ""),
];

/// What it says.
pub fn told(site: &Site) -> Option<Told> {
    let mut told = Told::default();
    for directory in instances::of(site).ok()?.directories {
        let values = ask(site, &directory)?;
        take(site, values.each_ref().map(String::as_str), &mut told);
    }
    Some(told)
}

fn take(site: &Site, values: [&str; ASKED.len()], told: &mut Told) {
    let [queue, base, spool, home, transport] = values;
    told.take("queue_directory", queue, &['$']);
    if !base.is_empty() {
        told.take("virtual_mailbox_base", base, &['$']);
    }
    // What is delivered by another program is that one's to name.
    if !transport.is_empty() {
        return;
    }
    if home.is_empty() {
        told.usual.push((spool.trim_end_matches('/').into(), "mail_spool_directory".into()));
    } else {
        homes::take(site, "home_mailbox", told);
    }
}

/// The values, as this instance has them.
fn ask(site: &Site, directory: &str) -> Option<[String; ASKED.len()]> {
    let names = ASKED.map(|(name, _)| name);
    let arguments = [&["-c", directory, "-xh"], &names[..]].concat();
    if let Some(text) = server_tool::ask(site, &["postconf"], &arguments) {
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        return lines.try_into().ok();
    }
    let main = site.read(&format!("{directory}/main.cf")).ok().flatten()?;
    let value = |(name, default): (&str, &str)| {
        setting(&main, name).map_or_else(|| default.to_owned(), |(_, value)| value)
    };
    Some(ASKED.map(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn of(values: [&str; 5]) -> Told {
        let mut told = Told::default();
        take(&Site::new(Path::new("/nonexistent")), values, &mut told);
        told
    }

    #[test]
    fn a_mailbox_is_postfixs_own_unless_another_program_delivers() {
        let told = of(["/q", "/var/vmail", "/var/mail/", "", ""]);
        let pair = |path: &str, of: &str| (path.to_owned(), of.to_owned());
        assert_eq!(
            told.set,
            [pair("/q", "queue_directory"), pair("/var/vmail", "virtual_mailbox_base")]
        );
        assert_eq!(told.usual, [pair("/var/mail", "mail_spool_directory")]);
        assert!(of(["/q", "", "/var/mail", "", "lmtp:unix:x"]).usual.is_empty());
        assert_eq!(of(["/q", "", "/var/mail", "Maildir/", ""]).untold.len(), 1);
    }
}
