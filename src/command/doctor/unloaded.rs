//! Why a process does not have the library, and what cures it: the loader, the
//! environment, the server's own settings.

use super::facts::{Facts, PreloadFault, named_library};
use super::reason::{Around, Judgement, State, judged, restart, server_of, unit_of};

/// Judges a process that does not map the library.
pub fn judge(facts: &Facts, around: &Around<'_>) -> Judgement {
    let not = |cause, reason: String, cure: String| judged(State::NotGated, cause, reason, cure);
    let named = facts.environ.as_ref().and_then(named_library);
    if let Some(PreloadFault::Bits(bits)) = facts.preload_fault {
        let own = facts.image.map_or(0, |image| image.bits);
        return not(
            "word-size",
            format!("it is a {own}-bit program, and the library has {bits} bits"),
            format!(
                "a {own}-bit build of the library, in a directory that LD_PRELOAD names by $LIB"
            ),
        );
    }
    if facts.image.is_some_and(|image| image.bits != usize::BITS as u8) {
        let own = facts.image.map_or(0, |image| image.bits);
        return not(
            "word-size",
            format!("it is a {own}-bit program; this build of writegate has {} bits", usize::BITS),
            "use a build of the program with the host's word size".into(),
        );
    }
    if facts.image.is_some_and(|image| image.is_static) {
        return not(
            "static",
            "it is linked statically: no loader runs, so nothing can be preloaded".into(),
            "use a dynamically linked build of it".into(),
        );
    }
    if facts.secure == Some(true) {
        return secure(facts, named);
    }
    match &facts.preload_fault {
        Some(PreloadFault::Missing(path)) => {
            let place = match &facts.chroot {
                Some(root) => format!(" in its root directory {}", root.display()),
                None => String::new(),
            };
            return not(
                "library-missing",
                format!("LD_PRELOAD names {path}, which does not exist{place}"),
                "install the library there, or correct the path, and restart".into(),
            );
        }
        Some(PreloadFault::Unreadable(path)) => {
            return not(
                "library-unreadable",
                format!("its user may not read the library: {path} is closed to it"),
                format!("chmod a+rX {path}, and restart; best is a standard library directory"),
            );
        }
        _ => {}
    }
    if let Some(path) = named {
        if let Some(label) = &facts.label {
            return not(
                "confined",
                format!("its security label `{label}` keeps the loader from mapping {path}"),
                "allow reading and mapping the library (AppArmor: `PATH mr,` in local/; SELinux: \
                 restorecon to lib_t), and restart"
                    .into(),
            );
        }
        return not(
            "not-loaded",
            format!("LD_PRELOAD names {path}, and the loader has not taken it"),
            "its stderr says `cannot be preloaded` and why; was the library installed after it \
             was started? then restart it"
                .into(),
        );
    }
    unasked(facts, around)
}

fn secure(facts: &Facts, named: Option<&str>) -> Judgement {
    let set_id = facts.image.is_some_and(|image| image.set_id);
    let why = if set_id {
        "it is set-user-ID or set-group-ID"
    } else {
        "it was started in secure mode (file capabilities, or a change of AppArmor or SELinux label)"
    };
    let cure = match server_of(facts) {
        Some("exim") => "exim.conf: add_environment = LD_PRELOAD=libwritegate.so, and the library \
                         with mode 4755 in a standard directory (writegate setup exim)"
            .into(),
        _ => "put the library's path into /etc/ld.so.preload, and `program =` lines for the mail \
              server into /etc/writegate/default.conf"
            .to_owned(),
    };
    let not_believed = match named {
        Some(path) if path.contains('/') => format!(
            ": there the loader takes only bare names from standard directories, not {path}"
        ),
        _ => ": the loader takes only set-user-ID libraries from standard directories there".into(),
    };
    judged(State::NotGated, "set-id", format!("{why}{not_believed}"), cure)
}

/// No library, and nobody asked for it, as far as can be seen.
fn unasked(facts: &Facts, around: &Around<'_>) -> Judgement {
    let not = |cause, reason: String, cure: String| judged(State::NotGated, cause, reason, cure);
    let parent = around.all.get(&facts.parent).filter(|p| p.library.is_some());
    if let Some(parent) = parent {
        return not(
            "scrubbed",
            format!(
                "its parent, pid {} ({}), has the library and gives it an environment without \
                 LD_PRELOAD",
                parent.pid, parent.program
            ),
            match server_of(facts) {
                Some("dovecot") => "dovecot.conf: import_environment = TZ CORE_OUTOFMEM \
                                    CORE_ERROR LISTEN_PID LISTEN_FDS NOTIFY_SOCKET LD_PRELOAD \
                                    WRITEGATE_GATE WRITEGATE_DIR (writegate setup dovecot)"
                    .into(),
                Some("postfix") => "main.cf: import_environment = (its default) LD_PRELOAD=..., \
                                    WRITEGATE_GATE=... (writegate setup postfix)"
                    .into(),
                Some("exim") => "exim.conf: add_environment = LD_PRELOAD=libwritegate.so \
                                 (writegate setup exim)"
                    .into(),
                _ => "let that program hand LD_PRELOAD and WRITEGATE_GATE on, or use \
                      /etc/ld.so.preload with `program =` lines in the profile"
                    .to_owned(),
            },
        );
    }
    let unit = unit_of(&facts.cgroup);
    let dropin = unit.and_then(|unit| around.dropins.get(unit));
    if dropin.is_some_and(|written| *written > facts.started_ns) {
        return not(
            "not-restarted",
            "it was started before the library was set up for its unit, and has not been \
             restarted since"
                .into(),
            format!("systemctl daemon-reload; {}", restart(facts)),
        );
    }
    if around.page_made_ns > facts.started_ns + 20_000_000 && around.page_fault.is_none() {
        return not(
            "not-restarted",
            "it was started before the gate was made, and has not been restarted since".into(),
            restart(facts),
        );
    }
    let seen = match &facts.environ {
        Some(_) => "it was started without LD_PRELOAD",
        None => "it does not have the library (its environment cannot be seen)",
    };
    let setup = match (server_of(facts), unit) {
        (Some("postfix"), _) => "writegate setup postfix (the unit's environment does not reach \
                                 Postfix, main.cf's import_environment does)"
            .into(),
        (Some(server), _) => format!("writegate setup {server} --install, and restart"),
        (None, Some(unit)) => format!("writegate setup {unit} --install, and restart"),
        (None, None) => format!("writegate exec -g {} -- PROGRAM", around.gate),
    };
    not("not-asked", seen.into(), setup)
}
