//! A unified diff of two small texts.

/// Lines of context.
const AROUND: usize = 3;

/// What turns `old` into `new`; empty if they are equal.
pub fn unified(path: &str, old: Option<&str>, new: Option<&str>) -> String {
    let (before, after) = (old.unwrap_or(""), new.unwrap_or(""));
    if old == new {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (lines(before), lines(after));
    let name = |text: Option<&str>| if text.is_some() { path } else { "/dev/null" };
    let mut out = format!("--- {}\n+++ {}\n", name(old), name(new));
    // Edits of this command are one run of lines: what is common at both ends is context.
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let room = a.len().min(b.len()) - head;
    let tail = a.iter().rev().zip(b.iter().rev()).take(room).take_while(|(x, y)| x == y).count();
    let from = head.saturating_sub(AROUND);
    let behind = tail.min(AROUND);
    let (a_end, b_end) = (a.len() - tail, b.len() - tail);
    let place = |from: usize, end: usize| {
        let len = end - from;
        format!("{},{len}", if len == 0 { from } else { from + 1 })
    };
    out += &format!("@@ -{} +{} @@\n", place(from, a_end + behind), place(from, b_end + behind));
    let mut put = |mark: char, line: &str| {
        out.push(mark);
        out.push_str(line.strip_suffix('\n').unwrap_or(line));
        out.push('\n');
        if !line.ends_with('\n') {
            out.push_str("\\ No newline at end of file\n");
        }
    };
    a[from..head].iter().for_each(|line| put(' ', line));
    a[head..a_end].iter().for_each(|line| put('-', line));
    b[head..b_end].iter().for_each(|line| put('+', line));
    a[a_end..a_end + behind].iter().for_each(|line| put(' ', line));
    out
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn an_insertion_a_new_file_a_removal() {
        assert_eq!(
            unified("x", Some("a\nb\nc\n"), Some("a\nb\nNEW\nc\n")),
            "--- x\n+++ x\n@@ -1,3 +1,4 @@\n a\n b\n+NEW\n c\n"
        );
        assert_eq!(unified("x", None, Some("a\n")), "--- /dev/null\n+++ x\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(unified("x", Some("a\n"), None), "--- x\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
        assert_eq!(unified("x", Some("a"), Some("a")), "");
        assert!(unified("x", Some("a"), Some("a\n")).contains("\\ No newline"));
    }
}
