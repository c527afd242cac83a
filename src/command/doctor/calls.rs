//! `writegate doctor --calls`: the table of hooked calls.

use crate::command::print;
use gate::calls::{Info, TABLE};
use serde::Serialize;

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    aliases: &'a [&'a str],
    rule: String,
    what: &'a str,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    TABLE.iter().skip(1).map(|info: &Info| Row {
        name: info.name,
        aliases: info.aliases,
        rule: info.rule.map_or_else(|| "as its va_list sibling".into(), |rule| format!("{rule:?}")),
        what: info.what,
    })
}

/// Prints it.
pub fn show(json: bool) {
    if json {
        let rows: Vec<_> = rows().collect();
        print(&serde_json::to_string_pretty(&rows).unwrap_or_default());
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
