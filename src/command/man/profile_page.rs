//! writegate.conf(5): the format of a profile, made from the gate's table of keys.

use super::roff::{escaped, section};
use gate::profile::{BUILT_IN, KEYS, TABLE, Value};

/// The page's name.
pub const NAME: &str = "writegate.conf";

/// The page, in roff.
pub fn roff() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH writegate.conf 5 \"\" \"writegate {version}\" writegate\n");
    section(
        &mut page,
        "NAME",
        "writegate.conf \\- profile of a gate: what is protected, and the habits of its service",
    );
    section(
        &mut page,
        "SYNOPSIS",
        ".nf\n/etc/writegate/\\fIGATE\\fR.conf\n/etc/writegate/hook.conf\n.fi",
    );
    section(
        &mut page,
        "DESCRIPTION",
        "One file for each gate. It is read when the gate's page is made (by the unit's \
         ExecStartPre, or by \\fBwritegate exec\\fR) and again by each freeze; \\fBwritegate setup\\fR \
         writes the profile that was made for a known server, with the directories that the server \
         names, and never writes over one that is there.\n.PP\nA line reads \\fBkey = value\\fR. A key may stand in several lines: all its \
         values count. Lines that begin with # are comments. In a pattern * stands for any text and \
         ? for one character; a pattern without / is compared with the last part of a path. An \
         unknown key is an error, and so is a value that would match everything.",
    );
    page.push_str(".SH KEYS\n");
    for info in &TABLE {
        let value = value_of(info.value);
        page.push_str(&format!(
            ".TP\n.B {} = \\fI{value}\\fR\n{}.\n",
            escaped(info.name),
            escaped(info.meaning)
        ));
    }
    page.push_str(".SH BUILT IN\nThese hold without any profile.\n.nf\n");
    for (key, value) in BUILT_IN {
        let name = KEYS.iter().find(|(_, known)| *known == key).map_or("", |(name, _)| *name);
        page.push_str(&format!("{} = {}\n", escaped(name), escaped(value)));
    }
    page.push_str(".fi\n");
    section(
        &mut page,
        "EXAMPLE",
        ".nf\npath = /var/spool/cyrus\npath = /var/lib/cyrus\nlifetime\\-lock = */socket/*\\-0.lock\n.fi",
    );
    section(
        &mut page,
        "SEE ALSO",
        "\\fBwritegate\\fR(1), \\fBwritegate\\-setup\\fR(1), \\fBwritegate\\-doctor\\fR(1)",
    );
    page
}

fn value_of(value: Value) -> &'static str {
    match value {
        Value::Directory => "directory",
        Value::Paths => "pattern of paths",
        Value::Programs | Value::Habit => "pattern of programs",
        Value::Whom => "the word `ungated`, or pattern of programs",
        Value::Addresses => "pattern of addresses",
        Value::TimeOrRest => "milliseconds or rest",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_has_its_paragraph() {
        let page = super::roff();
        for info in gate::profile::TABLE {
            let head = format!("\n.B {} = ", info.name.replace('-', "\\-"));
            assert!(page.contains(&head), "{}", info.name);
        }
    }
}
