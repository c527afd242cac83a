//! A profile, and its patterns against a path: what has passed the check is read the same everywhere, in time.
#![no_main]

use gate::profile::{self, Index, KEYS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A path, a NUL, the profile.
    let split = data.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (path, text) = data.split_at(split);
    let text = String::from_utf8_lossy(text.strip_prefix(b"\0").unwrap_or(text));
    let checked = profile::check(&text);
    if let Err(wrong) = checked {
        let line = text.split('\n').nth(wrong.line - 1).expect("a line that is there");
        assert!(wrong.column >= 1 && wrong.column <= line.len() + 1, "{wrong:?}");
    }
    let index = Index::of(&text);
    assert!(checked.is_err() || index.is_some(), "checked, and refused by the library");
    // One key an input, chosen by its bytes: all of them are the same code, and made an input 17 times as dear.
    let key = KEYS[data.iter().fold(0, |sum, byte| sum + *byte as usize) % KEYS.len()].1;
    let mut values = profile::values(&text, key);
    if let Some(index) = &index {
        let given = profile::values(&text, key).any(|value| profile::glob(value.as_bytes(), path));
        assert_eq!(given, index.given(&text, key, path), "the index and the text differ");
        assert_eq!(values.next().is_some(), index.has(key));
        let _ = index.matches(&text, key, path);
    }
    let _ = profile::first_wait(&text);
    let _ = profile::lock_like(path);
});
