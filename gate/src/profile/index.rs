//! Matching: where each value lies, and whether one of them matches a path.

use super::keys::{BUILT_IN, Key};
use super::pattern::glob;
use super::text::{LINES_MAX, lines_with_a_value};

/// Where the values of a profile lie in its text: found once, so that matching
/// reads no syntax. Fixed size; the text stays where it is.
#[derive(Clone, Copy)]
pub struct Index {
    entries: [(Option<Key>, u16, u16); LINES_MAX],
    len: usize,
}

impl Index {
    /// Of no text.
    pub const EMPTY: Index = Index { entries: [(None, 0, 0); LINES_MAX], len: 0 };

    /// Of a text; none if it has too many lines or bytes.
    pub fn of(text: &str) -> Option<Index> {
        let mut index = Index::EMPTY;
        for (key, value) in lines_with_a_value(text) {
            let start = value.as_ptr() as usize - text.as_ptr() as usize;
            let place = index.entries.get_mut(index.len)?;
            *place = (Some(key), start.try_into().ok()?, value.len().try_into().ok()?);
            index.len += 1;
        }
        Some(index)
    }

    /// Does some value of `key`, given or built in, match `path`?
    pub fn matches(&self, text: &str, key: Key, path: &[u8]) -> bool {
        BUILT_IN.iter().any(|(of, value)| *of == key && glob(value.as_bytes(), path))
            || self.given(text, key, path)
    }

    /// Is some value of `key` given?
    pub fn has(&self, key: Key) -> bool {
        self.entries.iter().take(self.len).any(|(of, ..)| *of == Some(key))
    }

    /// Does some given value of `key` match `path`?
    pub fn given(&self, text: &str, key: Key, path: &[u8]) -> bool {
        self.entries.iter().take(self.len).any(|(of, start, len)| {
            let (start, len) = (*start as usize, *len as usize);
            *of == Some(key)
                && text.as_bytes().get(start..start + len).is_some_and(|value| glob(value, path))
        })
    }
}

/// Does some value of `key`, given or built in, match `path`?
pub fn matches(text: &str, key: Key, path: &[u8]) -> bool {
    Index::of(text).is_some_and(|index| index.matches(text, key, path))
}
