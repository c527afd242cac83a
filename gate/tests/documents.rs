//! Documents that list what a table of this crate holds are held to it.

use gate::profile::TABLE;
use std::collections::BTreeSet;
use std::path::Path;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The first column of the table whose heading begins so.
fn first_column(text: &str, heading: &str) -> Vec<String> {
    let rows = text.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cell = |row: &str| row.split('|').nth(1).map(|cell| cell.trim().trim_matches('`').into());
    rows.filter_map(cell).collect()
}

#[test]
fn the_protocol_explains_every_key_of_a_profile_once() {
    let listed = first_column(&document("docs/developer/protocol.md"), "| key | rule |");
    let known: BTreeSet<String> = TABLE.iter().map(|info| info.name.into()).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(listed.len(), TABLE.len(), "one of them stands twice");
}

#[test]
fn every_key_has_its_own_name_and_a_meaning() {
    let names: BTreeSet<_> = TABLE.iter().map(|info| info.name).collect();
    assert_eq!(names.len(), TABLE.len());
    assert!(TABLE.iter().all(|info| !info.meaning.is_empty()));
}
