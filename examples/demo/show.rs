//! What a person sees: the table, one line of progress, medians.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Aligned: the first column to the left, the others to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).into()).collect();
    let width =
        |column: usize| rows.iter().chain([&head]).map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        cells.collect::<Vec<_>>().join("  ")
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let all = [head, rule].into_iter().chain(rows.iter().cloned());
    all.map(|row| line(&row)).collect::<Vec<_>>().join("\n")
}

/// The smallest value with at least that share of the values at or below it.
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut ordered = values.to_vec();
    ordered.sort_by(f64::total_cmp);
    ordered.get((ordered.len() * percent).div_ceil(100).max(1) - 1).copied()
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50).unwrap_or(f64::NAN)
}

/// One line that moves on a terminal, a plain line every few seconds elsewhere.
pub struct Progress {
    label: &'static str,
    total: usize,
    done: usize,
    shown: Instant,
}

impl Progress {
    /// Of so many steps.
    pub fn new(label: &'static str, total: usize) -> Progress {
        Progress { label, total, done: 0, shown: Instant::now() }
    }

    /// One more is done.
    pub fn step(&mut self, note: &str) {
        self.done += 1;
        let line = format!("{}: {}/{} {note}", self.label, self.done, self.total);
        let last = self.done == self.total;
        if stderr().is_terminal() {
            eprint!("\r\x1b[K{line}{}", if last { "\n" } else { "" });
        } else if last || self.shown.elapsed() > Duration::from_secs(5) {
            self.shown = Instant::now();
            eprintln!("{line}");
        }
    }
}
