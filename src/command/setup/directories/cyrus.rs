//! Cyrus: `imapd.conf`, with what it includes.

use super::told::Told;
use crate::command::setup::site::Site;

const FILES: [&str; 2] = ["/etc/imapd.conf", "/etc/cyrus/imapd.conf"];
/// A file may include one that includes it.
const INCLUDED: usize = 20;

/// A server does not start without it.
const CONFIGURATION: &str = "configdirectory";
/// Each partition has its own: the name goes on with the partition's. (That of a search index begins
/// with the partition's name.)
const OF_PARTITIONS: [&str; 4] =
    ["partition-", "metapartition-", "archivepartition-", "backuppartition-"];
const OF_SEARCH: &str = "searchpartition-";
/// Files that may lie elsewhere than in the configuration directory, and are kept. (Caches are
/// not: they may lie in memory.)
const DATABASES: [&str; 5] = [
    "mboxlist_db_path",
    "quota_db_path",
    "annotation_db_path",
    "conversations_db_path",
    "userdeny_db_path",
];
/// In use unless scripts lie in home directories.
const SCRIPTS: &str = "sievedir";

/// What it says.
pub fn told(site: &Site) -> Option<Told> {
    let file = FILES.into_iter().find(|file| site.has_any(&[file]))?;
    let mut told = Told::default();
    let mut files = vec![file.to_owned()];
    let mut read = 0;
    while read < files.len().min(INCLUDED) {
        let text = site.read(&files[read]).ok().flatten().unwrap_or_default();
        files.extend(take(&text, &mut told));
        read += 1;
    }
    told.set.iter().any(|(_, setting)| setting == CONFIGURATION).then_some(told)
}

/// Takes what one file says; the files that it includes.
fn take(text: &str, told: &mut Told) -> Vec<String> {
    let mut includes = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name == "@include" {
            includes.push(value.to_owned());
        } else if name == CONFIGURATION || is_of_partition(name) {
            told.take(name, value, &[]);
        } else if name == SCRIPTS {
            told.usual.push((value.into(), name.into()));
        } else if DATABASES.contains(&name)
            && let Some((dir, _)) = value.rsplit_once('/')
        {
            told.usual.push((dir.into(), name.into()));
        }
    }
    includes
}

fn is_of_partition(name: &str) -> bool {
    OF_PARTITIONS.iter().any(|start| name.starts_with(start)) || name.contains(OF_SEARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_one_by_one() {
        let mut told = Told::default();
        let text = "configdirectory: /var/lib/cyrus\n# partition-old: /old\n\
                    defaultpartition: default\npartition-default: /srv/a\nmetapartition-b: /srv/m/\n\
                    bsearchpartition-b: /srv/s\nsievedir: /var/spool/sieve\n\
                    mboxlist_db_path: /ssd/mailboxes.db\nproc_path: /run/cyrus/proc\n\
                    @include: /etc/imapd-more.conf\n";
        assert_eq!(take(text, &mut told), ["/etc/imapd-more.conf"]);
        let paths = |told: &[(String, String)]| -> Vec<String> {
            told.iter().map(|(path, _)| path.clone()).collect()
        };
        assert_eq!(paths(&told.set), ["/var/lib/cyrus", "/srv/a", "/srv/m", "/srv/s"]);
        assert_eq!(paths(&told.usual), ["/var/spool/sieve", "/ssd"]);
    }
}
