//! Contradictions in a copy of the store: a copy is torn when a delivery lies in it by half.

use crate::Result;
use crate::store::{self, Index, MESSAGE, numbers};
use std::fs;
use std::path::Path;

/// Each in words; none: it is whole.
pub fn contradictions(tree: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut boxes = 0;
    for folder in fs::read_dir(tree)? {
        boxes += 1;
        found.extend(of_box(&folder?.path())?);
    }
    if boxes == 0 {
        return Err(format!("{} holds no boxes: there is nothing to check", tree.display()).into());
    }
    Ok(found)
}

fn of_box(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut expect = |what: &str, seen: usize, expected: usize| {
        if seen != expected {
            found.push(format!("{}: {what}: {seen} against {expected}", folder.display()));
        }
    };
    let bytes = fs::read(folder.join("index")).unwrap_or_default();
    let Some(index) = Index::parse(&bytes) else {
        return Ok(vec![format!("{}: no index", folder.display())]);
    };
    let count = index.count as usize;
    expect("records, and the header's count", index.numbers.len(), count);
    if let Some(last) = index.numbers.last() {
        expect("last record, and the header's last", *last as usize, index.last as usize);
    }
    let quota = numbers(&fs::read(folder.join("quota")).unwrap_or_default());
    expect(
        "messages by quota, and by the header",
        quota.first().copied().unwrap_or(0) as usize,
        count,
    );
    expect(
        "bytes by quota, and by the header",
        quota.get(1).copied().unwrap_or(0) as usize,
        count * MESSAGE,
    );
    for number in &index.numbers {
        let text = fs::read(folder.join(format!("msg.{number}"))).unwrap_or_default();
        expect("a message is as it was written", usize::from(text == store::message(*number)), 1);
    }
    let is_message = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with("msg.");
    let files = fs::read_dir(folder)?.flatten().filter(is_message).count();
    expect("message files, and records", files, index.numbers.len());
    Ok(found)
}
