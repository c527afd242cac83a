//! The table of verdicts: what a freeze may claim about the snapshot, and its exit code. What each
//! says of the snapshot, and what to do, stands in `docs/admin/verdicts.md`, of which a test wants
//! one row for each.

use crate::outcome::exit;
use serde::{Deserialize, Serialize};

/// What may be claimed, the better before the worse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Everything that was gated stood still for all of the command.
    Consistent,
    /// The command ran without the gate, as `--policy crash-consistent` allows.
    CrashConsistent,
    /// Another freeze held the gate for all of `--queue`; nothing was held.
    Busy,
    /// It did not become quiet, as was required; nothing was held.
    NotQuiet,
    /// Something stayed in flight; the command was not run.
    NotDrained,
    /// A signal came; the snapshot, if any, is not to be trusted.
    Interrupted,
    /// The keeper is gone, and what it knew with it.
    Unproven,
    /// Something that concerns the snapshot could not be looked at.
    Unseen,
    /// A process that should be gated is not, or can write past the gate.
    Ungated,
    /// Something changed while the gate was closed.
    Escaped,
    /// The limit passed before the thaw: writers went on.
    Expired,
}

/// How a verdict exits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Exit {
    /// By this code.
    Code(u8),
    /// As the snapshot command did.
    Commands,
    /// By the signal that came.
    Signal,
}

/// How severe it is in the system's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// All is well.
    Info,
    /// There is no snapshot that is to be trusted.
    Warning,
    /// There is one that is not.
    Error,
}

/// What there is to know of one verdict.
struct Entry {
    #[cfg_attr(not(test), expect(dead_code, reason = "a test holds the order by it"))]
    verdict: Verdict,
    /// As it is printed.
    name: &'static str,
    exit: Exit,
    severity: Severity,
    /// Which limit it ran into, by its option.
    limit: Option<&'static str>,
}

/// In the order of [`Verdict`].
const ALL: [Entry; 11] = [
    Entry {
        verdict: Verdict::Consistent,
        name: "CONSISTENT",
        exit: Exit::Code(0),
        severity: Severity::Info,
        limit: None,
    },
    Entry {
        verdict: Verdict::CrashConsistent,
        name: "CRASH_CONSISTENT",
        exit: Exit::Commands,
        severity: Severity::Warning,
        limit: Some("drain"),
    },
    Entry {
        verdict: Verdict::Busy,
        name: "BUSY",
        exit: Exit::Code(exit::NOT_DRAINED),
        severity: Severity::Warning,
        limit: Some("queue"),
    },
    Entry {
        verdict: Verdict::NotQuiet,
        name: "NOT_QUIET",
        exit: Exit::Code(exit::NOT_DRAINED),
        severity: Severity::Warning,
        limit: Some("wait-quiet"),
    },
    Entry {
        verdict: Verdict::NotDrained,
        name: "NOT_DRAINED",
        exit: Exit::Code(exit::NOT_DRAINED),
        severity: Severity::Warning,
        limit: Some("drain"),
    },
    Entry {
        verdict: Verdict::Interrupted,
        name: "INTERRUPTED",
        exit: Exit::Signal,
        severity: Severity::Error,
        limit: None,
    },
    Entry {
        verdict: Verdict::Unproven,
        name: "UNPROVEN",
        exit: Exit::Code(exit::TOKEN),
        severity: Severity::Error,
        limit: None,
    },
    Entry {
        verdict: Verdict::Unseen,
        name: "UNSEEN",
        exit: Exit::Code(exit::ESCAPE),
        severity: Severity::Error,
        limit: None,
    },
    Entry {
        verdict: Verdict::Ungated,
        name: "UNGATED",
        exit: Exit::Code(exit::ESCAPE),
        severity: Severity::Error,
        limit: None,
    },
    Entry {
        verdict: Verdict::Escaped,
        name: "ESCAPED",
        exit: Exit::Code(exit::ESCAPE),
        severity: Severity::Error,
        limit: None,
    },
    Entry {
        verdict: Verdict::Expired,
        name: "EXPIRED",
        exit: Exit::Code(exit::EXPIRED),
        severity: Severity::Error,
        limit: Some("limit"),
    },
];

impl Verdict {
    fn entry(self) -> &'static Entry {
        &ALL[self as usize]
    }

    /// As it is printed.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its exit code. An interrupted freeze exits by its signal, which is SIGINT where none is
    /// known.
    pub fn code(self) -> u8 {
        match self.entry().exit {
            Exit::Code(code) => code,
            Exit::Commands => 0,
            Exit::Signal => exit::by_signal(libc::SIGINT),
        }
    }

    /// How severe it is in the system's log.
    pub fn severity(self) -> Severity {
        self.entry().severity
    }

    /// Which of the limits it ran into, by its option.
    pub fn limit_hit(self) -> Option<&'static str> {
        self.entry().limit
    }

    /// Was the gate drained and closed?
    pub fn had_drained(self) -> bool {
        matches!(self, Verdict::Consistent | Verdict::Escaped | Verdict::Expired)
    }

    /// The worst of these; none: of nothing.
    pub fn worst(verdicts: impl Iterator<Item = Verdict>) -> Option<Verdict> {
        verdicts.max_by_key(|verdict| *verdict as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_row_in_the_table_and_in_the_documents() {
        let page = include_str!("../../docs/admin/verdicts.md");
        for (at, entry) in ALL.iter().enumerate() {
            assert_eq!(entry.verdict as usize, at, "{}", entry.name);
            assert_eq!(serde_json::to_value(entry.verdict).unwrap(), entry.name);
            let exit = match entry.exit {
                Exit::Code(code) => code.to_string(),
                Exit::Commands => "the command's own".into(),
                Exit::Signal => "128 + signal".into(),
            };
            let row = format!("| {} | {exit} | ", entry.name);
            let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(&row)).collect();
            assert_eq!(rows.len(), 1, "rows that begin so in docs/admin/verdicts.md: {row}");
            let cells: Vec<_> =
                rows[0].split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
            let says = cells.len() == 2 && cells.iter().all(|cell| !cell.is_empty());
            assert!(says, "what it says of the snapshot, and what to do: {row}{}", rows[0]);
            if let Some(limit) = entry.limit {
                assert!(page.contains(&format!("`--{limit}` |")), "{limit}");
            }
        }
        // The other rows of that table are in brackets: no verdict stands there that is none here.
        let shouted = |cell: &str| cell.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let names = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        for name in names.filter(|name| shouted(name)) {
            assert!(ALL.iter().any(|entry| entry.name == name), "{name}");
        }
    }

    const EACH: [Verdict; 11] = [
        Verdict::Consistent,
        Verdict::CrashConsistent,
        Verdict::Busy,
        Verdict::NotQuiet,
        Verdict::NotDrained,
        Verdict::Interrupted,
        Verdict::Unproven,
        Verdict::Unseen,
        Verdict::Ungated,
        Verdict::Escaped,
        Verdict::Expired,
    ];

    #[test]
    fn what_each_verdict_comes_to() {
        use Severity::{Error, Info, Warning};
        let is = [
            ("CONSISTENT", 0, Info, None, true),
            ("CRASH_CONSISTENT", 0, Warning, Some("drain"), false),
            ("BUSY", 75, Warning, Some("queue"), false),
            ("NOT_QUIET", 75, Warning, Some("wait-quiet"), false),
            ("NOT_DRAINED", 75, Warning, Some("drain"), false),
            ("INTERRUPTED", 130, Error, None, false),
            ("UNPROVEN", 76, Error, None, false),
            ("UNSEEN", 65, Error, None, false),
            ("UNGATED", 65, Error, None, false),
            ("ESCAPED", 65, Error, None, true),
            ("EXPIRED", 124, Error, Some("limit"), true),
        ];
        let of = |v: Verdict| (v.name(), v.code(), v.severity(), v.limit_hit(), v.had_drained());
        assert_eq!(EACH.map(of), is);
    }

    #[test]
    fn of_several_gates_the_worst_counts() {
        assert_eq!(Verdict::worst([].into_iter()), None);
        for (at, worse) in EACH.iter().enumerate() {
            for better in &EACH[..=at] {
                for both in [[*better, *worse], [*worse, *better]] {
                    assert_eq!(Verdict::worst(both.into_iter()), Some(*worse));
                }
            }
        }
    }
}
