//! Why a process that has the library does not map the gate's page, and what cures it.

use super::cures::restart;
use super::diagnosis::{Cause, Context, Diagnosis};
use super::observation::Observation;
use gate::layout::LAYOUT;
use gate::name::{NAME_MAX, is_name};
use gate::profile::{self, Key};
use std::path::Path;

/// Diagnoses a process that has the library and not the gate's page.
pub fn diagnose(process: &Observation, context: &Context<'_>) -> Diagnosis {
    if let Some((path, _)) = &process.control_page {
        return other_page(process, path, context);
    }
    other_clock(process)
        .or_else(|| left_out(process, context))
        .or_else(|| other_layout(process, context))
        .or_else(|| page_unusable(process, context))
        .or_else(|| asks_for_another(process, context))
        .or_else(|| cannot_see(process, context))
        .or_else(|| too_old(process, context))
        .unwrap_or_else(|| unexplained(process, context))
}

/// Diagnoses a process that maps the gate's page where this command cannot use it: it hears a
/// command, and not this one.
pub fn on_unusable_page(process: &Observation, context: &Context<'_>, fault: &str) -> Diagnosis {
    match context.other_page_layout() {
        Some(layout) => Diagnosis::new(
            Cause::OtherLayout,
            format!(
                "it maps the gate's page, which another version of writegate made (layout \
                 {layout:08x}, this command has {LAYOUT:08x}), and runs that version's library"
            ),
            format!("remove {}, then {}", context.control(), restart(process)),
        ),
        None => unusable(process, fault),
    }
}

/// It maps another control page.
fn other_page(process: &Observation, path: &str, context: &Context<'_>) -> Diagnosis {
    let other = path.rsplit('/').nth(1).unwrap_or("?");
    if other != context.gate {
        return Diagnosis::new(
            Cause::OtherGate,
            format!("it belongs to another gate, {other}"),
            format!("freeze both: writegate freeze -g {} -g {other}", context.gate),
        );
    }
    if process.namesake {
        return Diagnosis::new(
            Cause::OtherGate,
            format!("it belongs to a gate {other} of another mount namespace (a container's)"),
            "freeze that gate from there",
        );
    }
    if let Some(root) = process.chroot.as_ref().filter(|root| Path::new(path).starts_with(root)) {
        return Diagnosis::new(
            Cause::OwnGateInChroot,
            format!(
                "its root directory is {}, and it has made a gate of its own in there",
                root.display()
            ),
            format!("let it see {}: a bind mount in the chroot", context.dir),
        );
    }
    if path != context.control() {
        return Diagnosis::new(
            Cause::OtherGate,
            format!("it belongs to a gate {other} in another directory: {path}"),
            "WRITEGATE_DIR names the directory, for the service and for the command",
        );
    }
    Diagnosis::new(
        Cause::OldPage,
        format!("it maps a control page of gate {other} that was replaced since: it is detached"),
        restart(process),
    )
}

/// Deadlines are moments of the host's monotonic clock.
pub fn other_clock(process: &Observation) -> Option<Diagnosis> {
    process.clock_offset.then(|| {
        Diagnosis::new(
            Cause::TimeNamespace,
            "it lives in a time namespace whose monotonic clock is not the host's: deadlines mean \
             nothing there",
            "start it without a time namespace, or with offset 0",
        )
    })
}

fn left_out(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    let exe = process.exe.as_ref().map(|exe| exe.to_string_lossy()).unwrap_or_default();
    let mut programs = profile::values(context.profile, Key::Program).peekable();
    programs.peek()?;
    if programs.any(|pattern| profile::glob(pattern.as_bytes(), exe.as_bytes())) {
        return None;
    }
    Some(Diagnosis::new(
        Cause::Profile,
        "the profile's `program` lines do not name it",
        format!(
            "if it writes mail: `program = {exe}` in /etc/writegate/{}.conf, restart",
            context.gate
        ),
    ))
}

fn page_unusable(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    Some(unusable(process, context.page_fault?))
}

fn unusable(process: &Observation, fault: &str) -> Diagnosis {
    Diagnosis::new(
        Cause::Page,
        format!("the gate's page cannot be used: {fault}"),
        restart(process),
    )
}

/// Its library's layout is not ours, or the page's is neither's.
fn other_layout(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    if let Some(layout) = process.library_layout.filter(|layout| layout.is_other()) {
        return Some(Diagnosis::new(
            Cause::OtherLayout,
            format!(
                "its library is another version's ({}, this command has layout {LAYOUT:08x}): \
                 it does not take a page of this one",
                layout.name()
            ),
            restart(process),
        ));
    }
    context.other_page_layout().map(|layout| {
        Diagnosis::new(
            Cause::OtherLayout,
            format!(
                "the gate's page was made by another version of writegate (layout \
                 {layout:08x}), and its library does not take that"
            ),
            format!("remove {}, then {}", context.control(), restart(process)),
        )
    })
}

fn asks_for_another(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    if process.secure_mode == Some(true) && context.gate != "default" {
        return Some(Diagnosis::new(
            Cause::SecureGate,
            "it runs in secure mode, where WRITEGATE_GATE is not believed: it looks for gate \
             default in /run/writegate",
            "use the gate `default` for this service",
        ));
    }
    let wanted = process.environment.as_ref()?.get("WRITEGATE_GATE")?;
    if !wanted.is_empty() && !is_name(wanted.as_bytes()) {
        return Some(Diagnosis::new(
            Cause::OtherGate,
            format!(
                "its environment asks for a gate called `{wanted}`, and no gate can be called so \
                 (letters, digits, - _ . @, at most {NAME_MAX})"
            ),
            format!(
                "WRITEGATE_GATE={} in its environment, then {}",
                context.gate,
                restart(process)
            ),
        ));
    }
    (wanted != context.gate).then(|| {
        Diagnosis::new(
            Cause::OtherGate,
            format!(
                "its environment asks for another gate, {wanted}, and it has found no page there"
            ),
            format!(
                "WRITEGATE_GATE={} in its environment, then {}",
                context.gate,
                restart(process)
            ),
        )
    })
}

/// What it would need lies out of its sight.
fn cannot_see(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    if process.page_hidden {
        let place = match &process.chroot {
            Some(root) => format!("its root directory is {}", root.display()),
            None => "its mount namespace hides it (PrivateMounts, TemporaryFileSystem=/run, \
                     a container)"
                .into(),
        };
        return Some(Diagnosis::new(
            Cause::PageHidden,
            format!("the gate's page {} cannot be seen from inside: {place}", context.control()),
            format!(
                "let it see {}: BindReadOnlyPaths= in the unit, a bind mount in the chroot",
                context.dir
            ),
        ));
    }
    if let Some(root) = process.page_of_nobody {
        return Some(Diagnosis::new(
            Cause::UserNamespace,
            format!(
                "it lives in a user namespace (a rootless container, or `PrivateUsers=`) in which \
                 the owner of the gate's page {} is nobody: it does not believe it",
                context.control()
            ),
            format!(
                "let its root make the page: remove {}, `chown {root} {}`, {}",
                context.control(),
                context.dir,
                restart(process)
            ),
        ));
    }
    process.boot_id_hidden.then(|| {
        Diagnosis::new(
            Cause::BootId,
            "it cannot read /proc/sys/kernel/random/boot_id (ProcSubset=pid, a chroot without \
             /proc), by which it would know that the page is of this boot",
            "let it read /proc: ProcSubset=all in the unit",
        )
    })
}

fn too_old(process: &Observation, context: &Context<'_>) -> Option<Diagnosis> {
    context.page_is_younger_than(process).then(|| {
        Diagnosis::new(
            Cause::PageYounger,
            format!("it was started before the gate's page {} was made", context.control()),
            restart(process),
        )
    })
}

fn unexplained(process: &Observation, context: &Context<'_>) -> Diagnosis {
    Diagnosis::new(
        Cause::Detached,
        "it has the library and does not map the gate's page; nothing that could be seen says why",
        format!(
            "{}; if that does not help: is {} readable for its user?",
            restart(process),
            context.control()
        ),
    )
}
