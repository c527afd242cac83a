//! From what was seen of a process to its diagnosis. Nothing is looked up here.

use super::cures::restart;
use super::diagnosis::{Cause, Context, Diagnosis};
use super::gate_survey::RegionSeen;
use super::observation::Observation;
use super::{detached, not_loaded};
use crate::command::servers::Loading;
use gate::region;

/// Diagnoses one process.
pub fn diagnose(process: &Observation, context: &Context<'_>) -> Diagnosis {
    if process.hung {
        return Diagnosis::new(
            Cause::Hung,
            "looking into it hangs: it is stuck in a fault or an mmap on a dead disk",
            "mend the disk, or end the process",
        );
    }
    if let Some(error) = process.maps_error {
        return unseen(error);
    }
    let maps_page = process.control_page.as_ref().is_some_and(|(_, ino)| *ino == context.page_ino);
    if maps_page {
        return match context.page_fault {
            // Forked into such a namespace, it still has its parent's page until it execs.
            None => detached::other_clock(process).unwrap_or_else(|| attached(process, context)),
            Some(fault) => detached::on_unusable_page(process, context, fault),
        };
    }
    match process.library {
        Some(_) => detached::diagnose(process, context),
        None => not_loaded::diagnose(process, context),
    }
}

fn unseen(error: i32) -> Diagnosis {
    let what = std::io::Error::from_raw_os_error(error);
    Diagnosis::new(
        Cause::Unseen,
        format!("its memory map may not be read by you ({what})"),
        "run this as root, with CAP_SYS_PTRACE (in a container: --cap-add SYS_PTRACE, or run it \
         on the host)",
    )
}

/// It maps the gate's page.
fn attached(process: &Observation, context: &Context<'_>) -> Diagnosis {
    match context.regions.get(&process.pid) {
        Some(RegionSeen::Read { .. }) if deliveries_outside(process) => Diagnosis::new(
            Cause::DeliveriesOutside,
            "it is gated, but its deliveries re-execute the set-user-ID binary, where the loader \
             does not take this library: they run outside the gate",
            "the library with mode 4755 in a standard library directory, add_environment in \
             exim.conf (writegate setup exim), or the library in /etc/ld.so.preload",
        ),
        Some(RegionSeen::Read { flags, .. }) if flags & region::FLAG_FOREIGN_CLOCK != 0 => {
            Diagnosis::new(
                Cause::NotHeld,
                "it waits for no barrier: its clock is not this machine's, or a system call filter \
                 leaves it neither a clock nor a sleep",
                "start it without a time namespace; allow it clock_gettime and futex",
            )
        }
        Some(RegionSeen::NoMemory) => Diagnosis::new(
            Cause::NoMemory,
            "it was forked and found no memory for a region of its own: it has locked its memory \
             (mlockall), and its limit of locked memory does not allow more",
            format!("LimitMEMLOCK=infinity in the unit, then {}", restart(process)),
        ),
        Some(RegionSeen::Read { flags, absent_calls }) => {
            let mut gated = Diagnosis::gated();
            gated.gaps = gaps(*flags);
            gated.absent_calls = absent_calls.clone();
            if process.library_replaced {
                gated.gaps.push(format!(
                    "runs the library of before an upgrade (its file was replaced); to get the \
                     new one: {}",
                    restart(process)
                ));
            }
            gated
        }
        Some(RegionSeen::Shared | RegionSeen::NotYetMade) => Diagnosis::gated(),
        Some(RegionSeen::OfOutsider) => {
            let mut gated = Diagnosis::gated();
            gated.gaps.push(
                "does not belong to the service (another user's, from another place): a freeze \
                 holds it, and does not wait for it; `--users` says whose are waited for"
                    .into(),
            );
            gated
        }
        Some(RegionSeen::Denied(error)) => {
            let what = std::io::Error::from_raw_os_error(*error);
            Diagnosis::new(
                Cause::RegionDenied,
                format!("its region may be neither mapped nor read by you ({what})"),
                "run this as root with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE (in a container: \
                 add them, or run it on the host)",
            )
        }
        Some(RegionSeen::NotUnderstood) | None => Diagnosis::new(
            Cause::OldLayout,
            "its region has a layout that this version does not know: the library was upgraded \
             under it",
            restart(process),
        ),
    }
}

/// Does it re-execute a set-id program that does not take the library?
fn deliveries_outside(process: &Observation) -> bool {
    let exim = process.server().is_some_and(|server| server.loading == Loading::Exim);
    exim && !process.library_for_set_id
}

/// What a gated process can do past the gate, by what its region says.
fn gaps(flags: u32) -> Vec<String> {
    let known: [(u32, &str); 3] = [
        (region::FLAG_AIO, "has used aio: libc's helper threads write past the gate"),
        (region::FLAG_IO_URING, "has set up an io_uring: the kernel writes for it past the gate"),
        (
            region::FLAG_LOCKS_UNKNOWN,
            "may hold locks that its region does not show: there was no room for them, or for what \
             its children had to tell",
        ),
    ];
    let known = known.iter().filter(|(flag, _)| flags & flag != 0);
    known.map(|(_, what)| (*what).to_owned()).collect()
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
