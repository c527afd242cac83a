//! Why a process does not have the library, and what cures it: the loader, the
//! environment, the server's own settings.

use super::cures::{hand_on, load_set_id, restart, set_up};
use super::diagnosis::{Cause, Context, Diagnosis};
use super::observation::{Observation, PreloadFault};

/// Diagnoses a process that does not map the library.
pub fn diagnose(process: &Observation, context: &Context<'_>) -> Diagnosis {
    cannot_load(process)
        .or_else(|| secure_mode(process))
        .or_else(|| library_out_of_reach(process))
        .or_else(|| loader_refused(process))
        .or_else(|| scrubbed(process, context))
        .or_else(|| not_restarted(process, context))
        .unwrap_or_else(|| not_asked(process, context))
}

/// No loader could load this library into this program.
fn cannot_load(process: &Observation) -> Option<Diagnosis> {
    let program = process.program_file;
    let own = program.map_or(0, |program| program.bits);
    if let Some(PreloadFault::Bits(bits)) = process.preload_fault {
        return Some(Diagnosis::new(
            Cause::WordSize,
            format!("it is a {own}-bit program, and the library has {bits} bits"),
            format!("use a {bits}-bit build of the program; the library has no other"),
        ));
    }
    let program = program?;
    if program.bits != usize::BITS as u8 {
        return Some(Diagnosis::new(
            Cause::WordSize,
            format!("it is a {own}-bit program; this build of writegate has {} bits", usize::BITS),
            "use a build of the program with the host's word size",
        ));
    }
    program.is_static.then(|| {
        Diagnosis::new(
            Cause::Static,
            "it is linked statically: no loader runs, so nothing can be preloaded",
            "use a dynamically linked build of it",
        )
    })
}

/// The loader believes no path.
fn secure_mode(process: &Observation) -> Option<Diagnosis> {
    if process.secure_mode != Some(true) {
        return None;
    }
    let why = if process.program_file.is_some_and(|program| program.set_id) {
        "it is set-user-ID or set-group-ID"
    } else {
        "it was started in secure mode (file capabilities, or a change of AppArmor or SELinux label)"
    };
    let not_believed = match process.named_library() {
        Some(path) if path.contains('/') => format!(
            ": there the loader takes only bare names from standard directories, not {path}"
        ),
        _ => ": the loader takes only set-user-ID libraries from standard directories there".into(),
    };
    Some(Diagnosis::new(Cause::SetId, format!("{why}{not_believed}"), load_set_id(process)))
}

fn library_out_of_reach(process: &Observation) -> Option<Diagnosis> {
    match process.preload_fault.as_ref()? {
        PreloadFault::Missing(path) => {
            let place = match &process.chroot {
                Some(root) => format!(" in its root directory {}", root.display()),
                None => String::new(),
            };
            Some(Diagnosis::new(
                Cause::LibraryMissing,
                format!("LD_PRELOAD names {path}, which does not exist{place}"),
                "install the library there, or correct the path, and restart",
            ))
        }
        PreloadFault::Unreadable(path) => Some(Diagnosis::new(
            Cause::LibraryUnreadable,
            format!("its user may not read the library: {path} is closed to it"),
            format!("chmod a+rX {path}, and restart; best is a standard library directory"),
        )),
        PreloadFault::Bits(_) => None,
    }
}

/// LD_PRELOAD names the library, and the loader has not taken it.
fn loader_refused(process: &Observation) -> Option<Diagnosis> {
    let path = process.named_library()?;
    let Some(label) = &process.label else {
        return Some(Diagnosis::new(
            Cause::NotLoaded,
            format!("LD_PRELOAD names {path}, and the loader has not taken it"),
            "its stderr says `cannot be preloaded` and why; was the library installed after it \
             was started? then restart it",
        ));
    };
    Some(Diagnosis::new(
        Cause::Confined,
        format!("its security label `{label}` keeps the loader from mapping {path}"),
        "allow reading and mapping the library (AppArmor: `PATH mr,` in local/; SELinux: \
         restorecon to lib_t), and restart",
    ))
}

/// Its parent was asked to load the library, and does not ask its children.
fn scrubbed(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    let parent = context.observed.get(&process.parent).filter(|p| p.library.is_some())?;
    Some(Diagnosis::new(
        Cause::Scrubbed,
        format!(
            "its parent, pid {} ({}), has the library and gives it an environment without \
             LD_PRELOAD",
            parent.pid, parent.program
        ),
        hand_on(process),
    ))
}

fn not_restarted(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    let dropin = process.unit().and_then(|unit| context.dropins.get(unit));
    if dropin.is_some_and(|written| *written > process.started_ns) {
        return Some(Diagnosis::new(
            Cause::NotRestarted,
            "it was started before the library was set up for its unit, and has not been \
             restarted since",
            format!("systemctl daemon-reload; {}", restart(process)),
        ));
    }
    let before_page = context.page_is_younger_than(process) && context.page_fault.is_none();
    before_page.then(|| {
        Diagnosis::new(
            Cause::NotRestarted,
            "it was started before the gate was made, and has not been restarted since",
            restart(process),
        )
    })
}

/// It was never asked, as far as can be seen.
fn not_asked(process: &Observation, context: &Context<'_>) -> Diagnosis {
    let seen = match &process.environment {
        Some(_) => "it was started without LD_PRELOAD",
        None => "it does not have the library (its environment cannot be seen)",
    };
    Diagnosis::new(Cause::NotAsked, seen, set_up(process, context.gate))
}
