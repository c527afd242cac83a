//! Text that others chose: names of programs, paths, units. The one place where it is made fit
//! to be shown.
//!
//! A name may hold an escape sequence that clears the screen, a newline and a whole verdict
//! after it, a control character of C1, or one that turns the rest of the line around. Shown,
//! each such character is what a programmer would write for it (`\x1b`, `\n`, `\u{202e}`). In JSON
//! the text is faithful, with escapes of JSON's own ([`json`]).

use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::path::Path;

/// A name that a process, or whoever made a file, has chosen. To show it is to escape it; there
/// is no way to its characters but [`ForeignText::raw`], which says so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForeignText(String);

impl ForeignText {
    /// As it was chosen: to compare it, never to show it.
    #[cfg(test)]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Has it no character?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A path; what is no UTF-8 in it is replaced.
    pub fn of_path(path: &Path) -> ForeignText {
        ForeignText(path.to_string_lossy().into_owned())
    }
}

impl<T: Into<String>> From<T> for ForeignText {
    fn from(text: T) -> ForeignText {
        ForeignText(text.into())
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(&self.0))
    }
}

impl fmt::Debug for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Text in which no character acts on a terminal, ends a line or turns one around.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if acts(c) && c.is_ascii() => {
                let _ = write!(shown, "\\x{:02x}", c as u32);
            }
            c if acts(c) => {
                let _ = write!(shown, "\\u{{{:x}}}", c as u32);
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Does this character do something other than to stand there?
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings, overrides and isolates of direction; separators of lines
            // and paragraphs; a mark that ends up inside a name unseen.
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'
                ..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// JSON in which no such character stands as itself: what serde leaves is escaped as JSON
/// allows it inside strings, and nowhere else does such a character stand.
pub fn json(text: String) -> String {
    let escapes = |c: char| acts(c) && c != '\n';
    if !text.contains(escapes) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if escapes(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_that_is_shown() {
        let evil = "a\x1b[2J\n\r\t\u{9b}x\x7f\u{202e}y\u{2028}\u{2066}\u{e0041}z";
        let shown = ForeignText::from(evil).to_string();
        assert_eq!(shown, "a\\x1b[2J\\n\\r\\t\\u{9b}x\\x7f\\u{202e}y\\u{2028}\\u{2066}\\u{e0041}z");
        assert!(!shown.contains(acts));
        assert_eq!(ForeignText::from("Posteingänge/日本").to_string(), "Posteingänge/日本");
        assert_eq!(format!("[{:<6}]", ForeignText::from("a\n")), "[a\\n   ]");
    }

    #[test]
    fn json_is_faithful_and_acts_on_nothing() {
        let evil = "x\u{9b}\u{202e}\n\x1b\x7f\u{e0041}";
        let text = json(serde_json::to_string_pretty(&[ForeignText::from(evil)]).unwrap());
        assert!(!text.contains(|c| acts(c) && c != '\n'), "{text}");
        let back: Vec<ForeignText> = serde_json::from_str(&text).unwrap();
        assert_eq!(back[0].raw(), evil);
    }
}
