//! The syntax of Postfix's main.cf.

/// The line and value of a parameter; lines that begin with a blank continue it.
pub fn setting(text: &str, name: &str) -> Option<(usize, String)> {
    let mut found: Option<(usize, String)> = None;
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = found.as_mut().filter(|_| continues) {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        continues = line.split_once('=').is_some_and(|(key, _)| key.trim() == name);
        if let Some((_, value)) = line.split_once('=').filter(|_| continues) {
            found = Some((number + 1, value.trim().into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn a_parameter_goes_on_over_lines_and_comments() {
        let text = "a = 1\nimport_environment = TZ\n# why\n    LANG=C\nb = 2\n   more\n";
        assert_eq!(setting(text, "import_environment"), Some((2, "TZ LANG=C".into())));
        assert_eq!(setting("#import_environment = x\n", "import_environment"), None);
    }
}
