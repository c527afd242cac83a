//! Dovecot: `doveconf -n`; below another root its files.

use super::homes;
use super::told::{Told, fixed_part};
use crate::command::setup::server_tool;
use crate::command::setup::site::Site;

/// Settings whose value is a location: a format, a path, and more paths by name (2.3).
const LOCATIONS: [&str; 3] = ["mail_location", "location", "mail"];
/// Of those names the ones that stand for a directory.
const PARTS: [&str; 5] = ["INDEX", "INDEXPVT", "CONTROL", "ALT", "INBOX"];
/// Settings whose value is a path, at most behind `file:` and before `;`.
const PATHS: [&str; 13] = [
    "mail_path",
    "mail_inbox_path",
    "mail_index_path",
    "mail_index_private_path",
    "mail_control_path",
    "mail_cache_path",
    "mail_alt_path",
    "mail_attachment_dir",
    "mail_ext_attachment_path",
    "sieve",
    "sieve_dir",
    "sieve_script_path",
    "sieve_script_active_path",
];
/// Settings that say where a user's home is.
const HOMES: [&str; 2] = ["mail_home", "home"];
/// Settings of a user database whose value is such settings, separated by blanks (2.3).
const FIELDS: [&str; 3] = ["args", "default_fields", "override_fields"];
/// Where a user database in a file says which.
const USERS_FILE: &str = "passwd_file_path";
/// User databases that only an own question to each can answer.
const ELSEWHERE: [&str; 4] = ["sql", "ldap", "lua", "dict"];
/// What begins a part that depends on the user, and what means the user's home.
const VARIABLE: [char; 2] = ['%', '~'];
const HOME: [&str; 4] = ["~", "%h", "%{home}", "%{userdb:home}"];

/// What it says.
pub fn told(site: &Site) -> Option<Told> {
    let asked = server_tool::ask(site, &["doveconf"], &["-n"]);
    let text = asked.or_else(|| files(site))?;
    let said = Said::of(&text);
    (!said.paths.is_empty()).then(|| said.told(site))
}

/// Its files, one after the other: no value depends on their order.
fn files(site: &Site) -> Option<String> {
    let mut text = site.read("/etc/dovecot/dovecot.conf").ok()??;
    for entry in std::fs::read_dir(site.at("/etc/dovecot/conf.d")).into_iter().flatten().flatten() {
        let path = format!("/etc/dovecot/conf.d/{}", entry.file_name().to_string_lossy());
        if path.ends_with(".conf") || path.ends_with(".conf.ext") {
            text.push('\n');
            text += &site.read(&path).ok().flatten().unwrap_or_default();
        }
    }
    Some(text)
}

/// What a configuration says, before it is looked up anywhere.
#[derive(Default, Debug, PartialEq, Eq)]
struct Said {
    /// Setting and path.
    paths: Vec<(String, String)>,
    homes: Vec<(String, String)>,
    users_files: Vec<String>,
    system_users: bool,
    elsewhere: Vec<String>,
}

impl Said {
    fn of(text: &str) -> Said {
        let mut said = Said::default();
        let mut blocks: Vec<String> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(block) = line.strip_suffix('{') {
                blocks.push(block.trim().to_owned());
                said.user_database(block.trim().strip_prefix("userdb ").unwrap_or_default());
            } else if line == "}" {
                blocks.pop();
            } else if let Some((name, value)) = line.split_once('=') {
                let in_users = blocks.iter().any(|block| block.starts_with("userdb"));
                said.take(name.trim(), value.trim().trim_matches('"'), in_users);
            }
        }
        said
    }

    fn take(&mut self, name: &str, value: &str, in_users: bool) {
        if value.is_empty() {
            return;
        }
        // What a database calls so for the mail process alone.
        let name = name.strip_prefix("userdb_").unwrap_or(name);
        let owned = |value: &str| (name.to_owned(), value.to_owned());
        if LOCATIONS.contains(&name) && (in_users || name != "mail") {
            let mut parts = value.split(':').skip(1);
            self.paths.extend(parts.next().map(owned));
            let named = parts.filter_map(|part| part.split_once('='));
            self.paths
                .extend(named.filter(|(key, _)| PARTS.contains(key)).map(|(_, path)| owned(path)));
        } else if PATHS.contains(&name) {
            let path = value.split(';').next().unwrap_or(value);
            self.paths.push(owned(path.strip_prefix("file:").unwrap_or(path)));
        } else if HOMES.contains(&name) && (in_users || name != "home") {
            self.homes.push(owned(value));
        } else if in_users && name == "driver" {
            self.user_database(value);
        } else if in_users && name == USERS_FILE {
            self.users_files.push(value.into());
        } else if in_users && FIELDS.contains(&name) {
            for word in value.split_whitespace() {
                match word.split_once('=') {
                    Some((name, value)) => self.take(name, value, true),
                    None if word.starts_with('/') => self.users_files.push(word.into()),
                    None => {}
                }
            }
        }
    }

    fn user_database(&mut self, driver: &str) {
        match driver {
            "passwd" | "pam" => self.system_users = true,
            driver if ELSEWHERE.contains(&driver) => self.elsewhere.push(driver.into()),
            _ => {}
        }
    }

    fn told(&self, site: &Site) -> Told {
        let mut told = Told::default();
        let mut at_home = None;
        for (setting, path) in &self.paths {
            if HOME.iter().any(|home| path.starts_with(home)) {
                at_home = Some(setting.as_str());
            } else {
                told.take(setting, path, &VARIABLE);
            }
        }
        // Where a home is said, mail may lie there whatever the locations are.
        for (setting, path) in &self.homes {
            if fixed_part(path, &VARIABLE).is_some() {
                told.take(setting, path, &VARIABLE);
            }
        }
        if let Some(setting) = at_home {
            self.take_homes(site, setting, &mut told);
        }
        told
    }

    fn take_homes(&self, site: &Site, setting: &str, told: &mut Told) {
        for file in &self.users_files {
            let text = site.read(file).ok().flatten().unwrap_or_default();
            // name:password:number:group:comment:home:shell:more
            let homes = homes::above_all(text.lines().filter_map(|line| line.split(':').nth(5)));
            told.usual.extend(homes.into_iter().map(|dir| (dir, format!("{setting}, {file}"))));
        }
        if self.system_users && self.homes.is_empty() {
            homes::take(site, setting, told);
        }
        for driver in &self.elsewhere {
            told.untold.push(format!(
                "{setting}: mail lies in home directories, and only the user database ({driver}) knows \
                 which: name the directory that holds them, `path = DIR`"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn told(text: &str) -> Told {
        Said::of(text).told(&Site::new(Path::new("/nonexistent")))
    }

    fn paths(told: &Told) -> Vec<&str> {
        told.set.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn a_location_names_more_than_one_directory() {
        let text = "mail_location = mdbox:/var/vmail/%d/%n:INDEX=/ssd/index/%u:LAYOUT=fs:ALT=/slow/%u\n\
                    namespace inbox {\n  location = \n  mailbox Sent {\n    special_use = \\Sent\n  }\n}\n\
                    namespace old {\n  location = mbox:/var/mail/%u:INBOX=/var/mail/%u\n}\n\
                    # mail_home = /commented\n";
        let told = told(text);
        assert_eq!(paths(&told), ["/var/vmail", "/ssd/index", "/slow", "/var/mail", "/var/mail"]);
        assert!(told.untold.is_empty());
    }

    #[test]
    fn the_newer_form_names_each_by_its_own_setting() {
        let text = "dovecot_config_version = 2.4.0\nmail_driver = maildir\nmail_home = /srv/vmail/%{user}\n\
                    mail_path = ~/Maildir\nmail_index_path = /ssd/%{user | lower}\n\
                    userdb static {\n  fields {\n    home = /srv/more/%{user}\n  }\n}\n";
        assert_eq!(paths(&told(text)), ["/ssd", "/srv/vmail", "/srv/more"]);
    }

    #[test]
    fn homes_are_where_the_user_database_has_them() {
        let told = told(
            "mail_location = maildir:~/Maildir\nuserdb {\n  args = uid=vmail gid=vmail home=/srv/%d/%n\n  \
             driver = static\n}\n",
        );
        assert_eq!(paths(&told), ["/srv"]);
        let of_sql = Said::of("mail_location = maildir:~/Maildir\nuserdb {\n  driver = sql\n}\n");
        assert!(of_sql.told(&Site::new(Path::new("/nonexistent"))).untold[0].contains("sql"));
        let of_passdb = Said::of("mail_location = mbox:~/mail\npassdb {\n  driver = pam\n}\n");
        assert!(!of_passdb.system_users, "who may log in says nothing of homes");
    }

    #[test]
    fn a_file_of_users_names_their_homes() {
        let said = Said::of(
            "mail_location = maildir:~/\nuserdb {\n  args = username_format=%u /etc/dovecot/users\n  \
             driver = passwd-file\n}\n",
        );
        assert_eq!(said.users_files, ["/etc/dovecot/users"]);
    }
}
