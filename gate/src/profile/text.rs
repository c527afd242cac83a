//! The text of a profile, line by line: its values, and what is wrong with it.

use super::first_wait::{self, FirstWait};
use super::keys::{KEYS, Key};

// As sets: a search for a plain character is libcore's memchr, which cannot be shown
// not to panic, and the library that reads this must contain no path to a panic.
const NEWLINE: [char; 1] = ['\n'];
const COMMENT: [char; 1] = ['#'];
const EQUALS: [char; 1] = ['='];

fn key_of(name: &str) -> Option<Key> {
    KEYS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key)
}

/// Each line that gives a key a value, in order.
pub(super) fn lines_with_a_value(text: &str) -> impl Iterator<Item = (Key, &str)> {
    text.split(NEWLINE).filter_map(|line| {
        let body = line.split(COMMENT).next().unwrap_or("");
        let (name, value) = body.split_once(EQUALS)?;
        Some((key_of(name.trim())?, value.trim()))
    })
}

/// The values of one key, in order.
pub fn values(text: &str, key: Key) -> impl Iterator<Item = &str> {
    lines_with_a_value(text).filter_map(move |(of, value)| (of == key).then_some(value))
}

/// The value of `first-wait`, if one is given.
pub fn first_wait(text: &str) -> Option<FirstWait> {
    values(text, Key::FirstWait).find_map(first_wait::parse)
}

/// Most lines with a value that one profile may have.
pub const LINES_MAX: usize = 256;

/// What is wrong with a profile, and where (both from 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Line.
    pub line: usize,
    /// Column, in bytes.
    pub column: usize,
    /// What.
    pub what: &'static str,
}

/// Checks a whole profile; the first fault is returned.
pub fn check(text: &str) -> Result<(), Wrong> {
    let mut used = 0;
    for (number, line) in text.split(NEWLINE).enumerate() {
        let wrong = |at: &str, what| {
            // `at` is a part of `line`.
            let column = at.as_ptr() as usize - line.as_ptr() as usize + 1;
            Err(Wrong { line: number + 1, column, what })
        };
        let body = line.split(COMMENT).next().unwrap_or("");
        if body.trim().is_empty() {
            continue;
        }
        let Some((name, value)) = body.split_once(EQUALS) else {
            return wrong(body.trim_start(), "expected `key = value`");
        };
        let Some(key) = key_of(name.trim()) else {
            return wrong(name.trim_start(), "unknown key");
        };
        let value = value.trim();
        if value.is_empty() {
            return wrong(&body[body.len()..], "the value is missing");
        }
        used += 1;
        if used > LINES_MAX {
            return wrong(name.trim_start(), "a profile has at most 256 lines with a value");
        }
        if let Some(what) = key.fault(value) {
            return wrong(value, what);
        }
    }
    Ok(())
}
