//! The one table of servers (`writegate setup --list`) against everything that lists
//! servers too: the profiles, the documents, `scripts/evaluate`, `scripts/test`, `--help`.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

fn writegate(args: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_writegate")).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn servers() -> Vec<Value> {
    let list: Value = serde_json::from_str(&writegate(&["setup", "--list", "--json"])).unwrap();
    assert_eq!(list["schema"], 1);
    list["servers"].as_array().unwrap().clone()
}

/// A field of each of them, in the table's order.
fn all(field: &str) -> Vec<String> {
    servers().iter().map(|server| server[field].as_str().unwrap().to_owned()).collect()
}

fn set<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.as_ref().to_owned()).collect()
}

/// Past the capture of the test harness, which keeps from the reader what a macro prints.
fn skipped(why: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}

#[test]
fn each_row_is_whole_and_itself() {
    let table = writegate(&["setup", "--list"]);
    for server in servers() {
        let name = server["name"].as_str().unwrap();
        for field in ["units", "signs", "programs", "packages"] {
            assert!(!server[field].as_array().unwrap().is_empty(), "{name}: no {field}");
        }
        assert_eq!(server["title"].as_str().unwrap().to_lowercase(), name);
        assert!(table.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {table}");
    }
    assert_eq!(set(all("name")).len(), servers().len(), "a name stands twice");
}

#[test]
fn each_has_its_profile_and_each_profile_its_server() {
    for server in servers() {
        let (name, title) = (server["name"].as_str().unwrap(), server["title"].as_str().unwrap());
        let file = read(&format!("profiles/{name}.conf"));
        assert_eq!(server["profile"].as_str().unwrap(), file, "{name} has another's profile");
        let first = file.lines().next().unwrap();
        assert!(first.starts_with(&format!("# writegate profile for {title} ")), "{first}");
    }
    let files = std::fs::read_dir(root().join("profiles")).unwrap();
    let stems = files.map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    assert_eq!(set(stems), set(all("name")));
}

#[test]
fn the_documents_list_them_all() {
    let titles = all("title").join(", ");
    let row = format!("| [servers](docs/admin/servers.md) | {titles}: ");
    assert!(read("README.md").contains(&row), "README.md has no line `{row}`");
    let page = read("docs/admin/servers.md");
    // What is no server: two of them in a row, and programs that are none.
    let more = ["chain", "general"];
    let line = page.lines().find(|line| line.contains("scripts/evaluate cyrus|")).unwrap();
    let named = line.split("scripts/evaluate ").nth(1).unwrap().split('`').next().unwrap();
    assert_eq!(set(named.split('|')), set(all("name").iter().map(String::as_str).chain(more)));
}

/// The headings of a server's page: an admin at night looks for the same five.
const HEADINGS: [&str; 5] =
    ["## Install", "## Check", "## Restore", "## Known limits", "## Measured"];

#[test]
fn each_has_a_page_with_the_same_headings() {
    let overview = read("docs/admin/servers.md");
    for server in servers() {
        let (name, title) = (server["name"].as_str().unwrap(), server["title"].as_str().unwrap());
        let setup = if server["loading"] == "system-wide" { "no: system-wide" } else { "yes" };
        let row = format!("| [{title}](servers/{name}.md) | {setup} | ");
        assert!(overview.contains(&row), "docs/admin/servers.md has no row `{row}`");
        let page = read(&format!("docs/admin/servers/{name}.md"));
        assert_eq!(page.lines().next(), Some(format!("# {title}").as_str()));
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, HEADINGS, "docs/admin/servers/{name}.md");
    }
}

/// The folders below `tests/` that hold such a file.
fn folders(file: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![root().join("tests")];
    while let Some(dir) = left.pop() {
        let is_folder = |path: &PathBuf| path.is_dir() && !path.is_symlink();
        let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        left.extend(entries.filter(is_folder));
        if dir.join(file).exists() {
            found.insert(dir.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn each_is_measured_and_tested() {
    let known = folders("evaluate.py");
    let Ok(help) = Command::new("python3").arg(root().join("scripts/evaluate")).arg("-h").output()
    else {
        skipped("python3 is not there to run scripts/evaluate and scripts/test");
        return;
    };
    let text = String::from_utf8_lossy(&help.stderr).into_owned();
    let listed = text.split("(SERVER: ").nth(1).expect(&text).split(')').next().unwrap();
    assert_eq!(set(listed.split(", ")), known, "scripts/evaluate does not find its folders");
    let parts = Command::new("python3").arg(root().join("scripts/test")).arg("--list").output();
    let parts = String::from_utf8_lossy(&parts.unwrap().stdout).into_owned();
    let parts = set(parts.lines().filter_map(|line| line.split_whitespace().next()));
    for name in all("name") {
        assert!(known.contains(&name), "scripts/evaluate does not know {name}");
        assert!(parts.contains(&name), "scripts/test does not know {name}");
    }
}

#[test]
fn help_names_them() {
    let names = all("name").join(", ");
    assert!(writegate(&["doctor", "-h"]).contains(&format!("(or {names})")));
    let ours: Vec<_> = servers().into_iter().filter(|s| s["setup"] == true).collect();
    let ours: Vec<_> = ours.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(ours.len() >= 4);
    assert!(
        writegate(&["setup", "-h"]).contains(&format!("{}, or a systemd unit", ours.join(", ")))
    );
}

/// What `setup` makes is made for the server that is asked for, with its own profile.
#[test]
fn setup_publishes_the_profile_of_the_table() {
    for server in servers().iter().filter(|server| server["setup"] == true) {
        let name = server["name"].as_str().unwrap();
        let dir =
            std::env::temp_dir().join(format!("writegate-table-{name}-{}", std::process::id()));
        let sign = dir.join(server["signs"][0].as_str().unwrap().trim_start_matches('/'));
        std::fs::create_dir_all(sign.parent().unwrap()).unwrap();
        std::fs::write(&sign, "!include conf.d/*.conf\n").unwrap();
        let lib = dir.join("usr/lib/libwritegate.so");
        std::fs::create_dir_all(lib.parent().unwrap()).unwrap();
        std::fs::write(&lib, library()).unwrap();
        let shown = writegate(&["setup", name, "--print", "--root", path(&dir)]);
        let gate = server["only_gate"].as_str().unwrap_or(name);
        assert!(shown.contains(&format!("+++ /etc/writegate/{gate}.conf")), "{shown}");
        let profile = server["profile"].as_str().unwrap();
        // Where the server says what it stores where, that stands in place of the examples.
        let is_example = |line: &&str| line.starts_with("# path = ");
        for line in profile.lines().filter(|line| !line.is_empty() && !is_example(line)) {
            assert!(shown.contains(&format!("+{line}\n")), "{name}: no `{line}`");
        }
        let units = server["units"].as_array().unwrap().iter().map(|unit| unit.as_str().unwrap());
        let restarts = |unit| shown.contains(&format!("systemctl try-restart {unit}\n"));
        assert!(units.into_iter().any(restarts), "{name}: {shown}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

/// What `setup` looks at of a library: the head of an ELF file, and our note with the layout.
fn library() -> Vec<u8> {
    let mut head = [0; 64];
    head[..5].copy_from_slice(b"\x7fELF\x02");
    head[16] = 3; // ET_DYN
    head[18] = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let note = [10u32, 4, 1].map(u32::to_ne_bytes).concat();
    [&head[..], &note, b"writegate\0\0\0", &gate::layout::LAYOUT.to_ne_bytes()].concat()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
