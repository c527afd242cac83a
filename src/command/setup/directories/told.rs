//! What a server says of where it stores.

/// What a server says.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Told {
    /// Directories that its settings name: path and setting.
    pub set: Vec<(String, String)>,
    /// Those of settings that may not be in use: they count if they are there.
    pub usual: Vec<(String, String)>,
    /// What could not be told, to be said.
    pub untold: Vec<String>,
}

impl Told {
    /// What a setting names: the part before anything that depends on the user. `variables`: the
    /// letters that begin such a part.
    pub fn take(&mut self, setting: &str, value: &str, variables: &[char]) {
        match fixed_part(value, variables) {
            Some(path) => self.set.push((path, setting.into())),
            None => {
                self.untold.push(format!("{setting} = {value} names no directory for all users"))
            }
        }
    }
}

/// The directory that holds all that a value with variables stands for.
pub fn fixed_part(value: &str, variables: &[char]) -> Option<String> {
    let fixed = match value.find(variables) {
        Some(at) => &value[..value[..at].rfind('/')?],
        None => value,
    };
    let fixed = fixed.trim_end_matches('/');
    // In a profile a `#` begins a comment.
    let can_be_written = fixed.starts_with('/') && !fixed.contains(['#', '\n']);
    (can_be_written && fixed.trim() == fixed).then(|| fixed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_for_the_directory_above_its_first_variable() {
        for (value, fixed) in [
            ("/var/vmail/%d/%n", Some("/var/vmail")),
            ("/var/mail/$local_part", Some("/var/mail")),
            ("/var/vmail/", Some("/var/vmail")),
            ("/%u", None),
            ("relative/%u", None),
            ("%h/mail", None),
            ("/srv/a#b", None),
        ] {
            assert_eq!(fixed_part(value, &['%', '$']).as_deref(), fixed, "{value}");
        }
    }
}
