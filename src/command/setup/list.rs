//! `writegate setup --list`: the table of servers.

use crate::command::output::{print, print_json};
use crate::command::servers::{SERVERS, Server};
use serde::Serialize;

#[derive(Serialize)]
struct ServerJson {
    #[serde(flatten)]
    server: &'static Server,
    /// Does this command set it up?
    setup: bool,
    only_gate: Option<&'static str>,
}

#[derive(Serialize)]
struct ListJson {
    schema: u32,
    servers: Vec<ServerJson>,
}

/// Prints it.
pub fn show(json: bool) {
    if json {
        let servers = SERVERS.iter().map(|server| ServerJson {
            server,
            setup: server.has_setup(),
            only_gate: server.only_gate(),
        });
        let list = ListJson { schema: 1, servers: servers.collect() };
        print_json(&list);
        return;
    }
    print(&format!("{:<10} {:<20} {:<14} DEBIAN'S PACKAGES", "NAME", "UNIT", "SET UP BY"));
    for server in &SERVERS {
        let by = if server.has_setup() { "this command" } else { "hand" };
        let unit = server.units.last().copied().unwrap_or_default();
        print(&format!("{:<10} {unit:<20} {by:<14} {}", server.name, server.packages.join(" ")));
    }
}
