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

#[test]
fn the_profile_for_a_server_that_is_not_known_lists_every_key() {
    // What `writegate setup` writes, as the golden tree of its tests has it.
    let text = document("tests/command/setup/07-unit/expected/etc/writegate/files.conf");
    let from = text.find("keys, one value a line:").expect("the list of keys");
    let list = &text[from..];
    let list = list.split_once(": ").expect("the list").1.split_once(".\n").expect("its end").0;
    let listed: BTreeSet<String> =
        list.split(',').map(|name| name.trim_matches([' ', '\n', '#']).into()).collect();
    assert_eq!(listed, TABLE.iter().map(|info| info.name.into()).collect());
}
