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
    for (_, key) in KEYS {
        let by_text = profile::matches(&text, key, path);
        if let Some(index) = &index {
            assert_eq!(by_text, index.matches(&text, key, path));
            let _ = (index.has(key), index.given(&text, key, path));
        }
    }
    let _ = profile::first_wait(&text);
    let _ = profile::lock_like(path);
});
