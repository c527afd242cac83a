//! A block of ours in another's file, between two marked lines.

/// The block for a server, ready to stand in a file whose comments begin with `#`.
pub fn of(server: &str, text: &str) -> String {
    format!(
        "# writegate: begin {server} (made by `writegate setup {server}`; --remove takes it out)\n\
         {}\n# writegate: end {server}\n",
        text.trim_end_matches('\n')
    )
}

/// The server's block as it stands in a file.
pub fn find<'a>(file: &'a str, server: &str) -> Option<&'a str> {
    let begin = format!("# writegate: begin {server} ");
    let end = format!("# writegate: end {server}\n");
    let from = line_start(file, &begin)?;
    let len = file[from..].find(&end)? + end.len();
    Some(&file[from..from + len])
}

/// The file without the server's block. A line break that was added to reach a new
/// line stays: the exact original is the backup's business.
pub fn cut(file: &str, server: &str) -> String {
    find(file, server).map_or_else(|| file.into(), |block| file.replacen(block, "", 1))
}

fn line_start(file: &str, line: &str) -> Option<usize> {
    file.match_indices(line).map(|(at, _)| at).find(|at| *at == 0 || file[..*at].ends_with('\n'))
}

/// The file with the block at its end, or where this server's block stands already.
pub fn append(file: &str, server: &str, text: &str) -> String {
    if let Some(block) = find(file, server) {
        return file.replacen(block, &of(server, text), 1);
    }
    let mut new = file.to_owned();
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new + &of(server, text)
}

/// The file with the block at its beginning.
pub fn prepend(file: &str, server: &str, text: &str) -> String {
    of(server, text) + &cut(file, server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_can_be_taken_out_and_stands_once() {
        for file in ["", "a = b\n", "# c\n\nx = y\n"] {
            let with = append(file, "postfix", "k = v");
            assert!(with.ends_with("k = v\n# writegate: end postfix\n"));
            assert_eq!(cut(&with, "postfix"), file);
            assert_eq!(append(&with, "postfix", "k = v"), with);
            let two = append(&with, "exim", "e = f");
            assert_eq!(append(&two, "postfix", "k = v"), two, "in its place");
            assert_eq!(cut(&prepend(file, "exim", "k = v"), "exim"), file);
            assert_eq!(cut(&with, "exim"), with, "another's block");
        }
    }
}
