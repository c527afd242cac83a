//! Cures that depend on the unit or on the server.

use super::observation::Observation;
use crate::command::servers::Loading;

/// How this process is started anew.
pub fn restart(process: &Observation) -> String {
    match process.unit() {
        Some(unit) => format!("systemctl restart {unit}"),
        None => "restart the service".into(),
    }
}

/// How its server's parent process hands the library on.
pub fn hand_on(process: &Observation) -> &'static str {
    match process.server().map(|server| server.loading) {
        Some(Loading::Dovecot) => {
            "dovecot.conf: import_environment = TZ CORE_OUTOFMEM CORE_ERROR LISTEN_PID LISTEN_FDS \
             NOTIFY_SOCKET LD_PRELOAD WRITEGATE_GATE WRITEGATE_DIR (writegate setup dovecot)"
        }
        Some(Loading::Postfix) => {
            "main.cf: import_environment = (its default) LD_PRELOAD=..., WRITEGATE_GATE=... \
             (writegate setup postfix)"
        }
        Some(Loading::Exim) => {
            "exim.conf: add_environment = LD_PRELOAD=libwritegate.so (writegate setup exim)"
        }
        Some(Loading::Unit | Loading::SystemWide) | None => {
            "let that program hand LD_PRELOAD and WRITEGATE_GATE on, or use /etc/ld.so.preload with \
             `program =` lines in the profile"
        }
    }
}

/// How its server's set-id programs get the library.
pub fn load_set_id(process: &Observation) -> &'static str {
    match process.server().map(|server| server.loading) {
        Some(Loading::Exim) => {
            "exim.conf: add_environment = LD_PRELOAD=libwritegate.so, and the library with mode \
             4755 in a standard directory (writegate setup exim)"
        }
        _ => {
            "put the library's path into /etc/ld.so.preload, and `program =` lines for the mail \
             server into /etc/writegate/default.conf"
        }
    }
}

/// How the library is put into a service that was never asked to load it.
pub fn set_up(process: &Observation, gate: &str) -> String {
    let server = process.server().filter(|server| server.has_setup());
    match (server, process.unit()) {
        (Some(server), _) if server.loading == Loading::Postfix => {
            "writegate setup postfix (the unit's environment does not reach Postfix, main.cf's \
             import_environment does)"
                .into()
        }
        (Some(server), _) => format!("writegate setup {} --install, and restart", server.name),
        (None, Some(unit)) => format!("writegate setup {unit} --install, and restart"),
        (None, None) => format!("writegate exec -g {gate} -- PROGRAM"),
    }
}
