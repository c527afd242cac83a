//! `writegate doctor --calls`: the table of hooked calls.

use crate::command::output::{print, print_json};
use gate::calls::{Info, TABLE};
use serde::Serialize;

#[derive(Serialize)]
struct CallRow<'a> {
    name: &'a str,
    aliases: &'a [&'a str],
    rule: String,
    what: &'a str,
}

fn rows() -> impl Iterator<Item = CallRow<'static>> {
    TABLE.iter().skip(1).map(|info: &Info| CallRow {
        name: info.name,
        aliases: info.aliases,
        rule: info.rule.map_or_else(|| "forwards".into(), |rule| format!("{rule:?}")),
        what: info.what,
    })
}

/// Prints it.
pub fn show(json: bool) {
    if json {
        let rows: Vec<_> = rows().collect();
        print_json(&rows);
        return;
    }
    print(&format!("{:<24} {:<26} {:<34} ALIASES", "CALL", "RULE", "CHANGES"));
    for row in rows() {
        let line =
            format!("{:<24} {:<26} {:<34} {}", row.name, row.rule, row.what, row.aliases.join(" "));
        print(line.trim_end());
    }
    let exports: usize = rows().map(|row| 1 + row.aliases.len()).sum();
    print(&format!("{} calls, {exports} names", TABLE.len() - 1));
}
