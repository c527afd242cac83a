//! `/etc/writegate/hook.conf`: the gates that the scripts of `contrib/` freeze.

use super::block;
use super::plan::{Change, Inputs, Plan};
use super::site::Site;
use crate::outcome::fault::Result;

const FILE: &str = "/etc/writegate/hook.conf";

/// Adds this gate to those that are frozen. Each server has a block of its own, at the
/// beginning: what an admin has written further down wins.
pub fn add(site: &Site, plan: &mut Plan, name: &str, inputs: &Inputs) -> Result<()> {
    let now = site.read(FILE)?.unwrap_or_default();
    let gate = &inputs.gate;
    // Shell: two servers may be under one gate, which is frozen once.
    let text = format!(
        "case \" ${{gates_set_up-}} \" in *\" {gate} \"*) ;; *) \
         gates_set_up=\"${{gates_set_up-}} {gate}\" ;; esac\n\
         GATES=$gates_set_up"
    );
    let theirs = block::cut(&now, name);
    let own_gates = theirs.lines().find(|line| {
        let line = line.trim_start();
        line.starts_with("GATES=") && line != "GATES=$gates_set_up"
    });
    if let Some(line) = own_gates {
        plan.notes.push(format!(
            "{FILE} says itself which gates backup tools freeze ({line}): see that {gate} is among \
             them"
        ));
    }
    let after = match block::find(&now, name) {
        Some(block) => now.replacen(block, &block::of(name, &text), 1),
        None => block::prepend(&now, name, &text),
    };
    plan.changes.push(Change { path: FILE.into(), after, whole: false });
    Ok(())
}
