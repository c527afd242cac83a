//! The table of verdicts: what a freeze may claim about the snapshot, its exit code, and what
//! to do. `docs/admin/verdicts.md` shows the same rows, which a test holds.

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
    /// What it says of the snapshot, and what to do: two cells of the table in the documents.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documents alone"))]
    cells: [&'static str; 2],
}

/// In the order of [`Verdict`].
const ALL: [Entry; 11] = [
    Entry {
        verdict: Verdict::Consistent,
        name: "CONSISTENT",
        exit: Exit::Code(0),
        severity: Severity::Info,
        limit: None,
        cells: ["can be trusted: every set of writes is whole", "keep it"],
    },
    Entry {
        verdict: Verdict::CrashConsistent,
        name: "CRASH_CONSISTENT",
        exit: Exit::Commands,
        severity: Severity::Warning,
        limit: Some("drain"),
        cells: [
            "was taken without a drain, as asked (`--policy crash-consistent`)",
            "as good as after a power cut, no better",
        ],
    },
    Entry {
        verdict: Verdict::Busy,
        name: "BUSY",
        exit: Exit::Code(exit::NOT_DRAINED),
        severity: Severity::Warning,
        limit: Some("queue"),
        cells: [
            "was not taken: another freeze had the gate for all of `--queue`",
            "look at the other one (`writegate status`); stagger the jobs, or a longer `--queue`",
        ],
    },
    Entry {
        verdict: Verdict::NotQuiet,
        name: "NOT_QUIET",
        exit: Exit::Code(exit::NOT_DRAINED),
        severity: Severity::Warning,
        limit: Some("wait-quiet"),
        cells: [
            "was not taken: no quiet moment within `--wait-quiet`, and `--require quiet` asked for \
             one",
            "a longer wait, a quieter hour, or without `--require quiet`",
        ],
    },
    Entry {
        verdict: Verdict::NotDrained,
        name: "NOT_DRAINED",
        exit: Exit::Code(exit::NOT_DRAINED),
        severity: Severity::Warning,
        limit: Some("drain"),
        cells: [
            "was not taken (`--policy abort`)",
            "look at what blocks: pid, program, call, file, age are printed, also of one that was \
             in the way and has ended since; run `writegate rehearse`; a longer `--drain`, more \
             `--retries`, a quieter moment, or a profile line if a lock is held for life",
        ],
    },
    Entry {
        verdict: Verdict::Interrupted,
        name: "INTERRUPTED",
        exit: Exit::Signal,
        severity: Severity::Error,
        limit: None,
        cells: [
            "cannot be trusted, if there is one: a signal came to writegate",
            "the gate was opened first; take a new snapshot",
        ],
    },
    Entry {
        verdict: Verdict::Unproven,
        name: "UNPROVEN",
        exit: Exit::Code(exit::TOKEN),
        severity: Severity::Error,
        limit: None,
        cells: [
            "unknown: the keeper between `freeze` and `thaw` was killed, and what it saw is lost",
            "the gate is open again; take a new snapshot",
        ],
    },
    Entry {
        verdict: Verdict::Unseen,
        name: "UNSEEN",
        exit: Exit::Code(exit::ESCAPE),
        severity: Severity::Error,
        limit: None,
        cells: [
            "cannot be trusted: something that concerns it could not be looked at, or what \
             `--require` asks for could not",
            "what and why is named; mostly rights, or limits that are too small",
        ],
    },
    Entry {
        verdict: Verdict::Ungated,
        name: "UNGATED",
        exit: Exit::Code(exit::ESCAPE),
        severity: Severity::Error,
        limit: None,
        cells: [
            "cannot be trusted: a process of the service is not gated or has a way past the gate, \
             or one without the library has a protected file open for writing, or holds one of \
             the service's write locks",
            "the process is named; see `writegate doctor`; `--accept partial` accepts a gap that \
             you know of",
        ],
    },
    Entry {
        verdict: Verdict::Escaped,
        name: "ESCAPED",
        exit: Exit::Code(exit::ESCAPE),
        severity: Severity::Error,
        limit: None,
        cells: [
            "cannot be trusted: a change was seen in the window",
            "the process is named; start it through `writegate exec`, or see `writegate doctor`; a gated program \
             that writes past libc: `--hold-program`",
        ],
    },
    Entry {
        verdict: Verdict::Expired,
        name: "EXPIRED",
        exit: Exit::Code(exit::EXPIRED),
        severity: Severity::Error,
        limit: Some("limit"),
        cells: [
            "cannot be trusted: the limit passed before the thaw, writers went on",
            "make the command faster or `-t` longer; set this snapshot aside (`--on-untrusted`)",
        ],
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
            let row = format!("| {} | {exit} | {} |", entry.name, entry.cells.join(" | "));
            assert!(page.lines().any(|line| line == row), "not in docs/admin/verdicts.md: {row}");
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
}
