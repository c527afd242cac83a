//! The profile's file.

use crate::outcome::fault::{CONFIG, Fault, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The profile's text for a gate: `--config`, else `$WRITEGATE_CONF`, else
/// `/etc/writegate/NAME.conf`, else none.
pub fn text(name: &str, config: Option<&Path>) -> Result<String> {
    let named = config
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("WRITEGATE_CONF").map(PathBuf::from));
    let must_exist = named.is_some();
    let path = named.unwrap_or_else(|| format!("/etc/writegate/{name}.conf").into());
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(String::new()),
        Err(e) => return Err(Fault::io(format!("cannot read {}", path.display()), &e)),
    };
    gate::profile::check(&text).map_err(|wrong| {
        Fault::new(
            CONFIG,
            format!("{}:{}:{}: {}", path.display(), wrong.line, wrong.column, wrong.what),
        )
    })?;
    Ok(text)
}
