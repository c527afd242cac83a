//! The little of roff that the pages are written in.

/// Text as it is: a line that begins with a dot or a quote would be a request.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga").replace('\'', "\\(aq")
}

/// A section with its title.
pub fn section(page: &mut String, title: &str, text: &str) {
    page.push_str(&format!(".SH {title}\n{text}\n"));
}
