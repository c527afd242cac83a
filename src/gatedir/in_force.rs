//! The profile's file against the profile in force, which is the one in the gate's page: it is
//! published when the page is made, and a file with a fault then publishes none.

use super::dir::{PAGE, root};
use super::open::Gate;
use super::profile;
use crate::linux::namespaces::own_pid_namespace;
use crate::outcome::fault::{CONFIG, Fault, Result};
use gate::mark;

/// A note where the file is not what is in force.
///
/// A gate that was made from a file with a fault is refused: the sections that its admin
/// asked for are not kept, so nothing taken through it may be called consistent.
pub fn compare(gate: &Gate) -> Result<Option<String>> {
    let page = gate.page.get();
    let name = &gate.name;
    let cure = format!(
        "stop the service, remove {}, start the service",
        root().join(name).join(PAGE).display()
    );
    let file = profile::text(name, None);
    if page.profile_refused() {
        let what = match file {
            Err(fault) => format!("{}. Mend it,", fault.message),
            Ok(_) => "the file is in order now:".to_string(),
        };
        let made = "was made when its profile had a fault, and so has none";
        return Err(Fault::new(CONFIG, format!("gate {name} {made}: {what} {cure}")));
    }
    Ok(match file {
        Err(fault) => Some(format!("{}; the profile in force stays as it is", fault.message)),
        Ok(text) if !text.is_empty() && text != page.profile_text() => {
            Some(match gate.marks.made_in {
                elsewhere if elsewhere != mark::UNKNOWN && elsewhere != own_pid_namespace() => {
                    format!(
                        "gate {name}: its page was made in a container, by the profile that lies there, \
                     and the one here is not in force: mount /etc/writegate into the container; \
                     then {cure}"
                    )
                }
                _ => format!("gate {name}: its profile was changed and is not in force: {cure}"),
            })
        }
        Ok(_) => None,
    })
}
