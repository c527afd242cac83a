//! The constructor: environment, control page, region, locks that came over exec.
//!
//! Runs once, at load time or at the first hooked call, whichever comes first
//! (other libraries' constructors may come before ours). Only raw system calls. Under a
//! filter (a service's, a container's) only those that the loader has made already, since
//! another may be deadly; what cannot be had by them it does without.
//!
//! | module | duty |
//! |---|---|
//! | [`environment`] | what the environment says |
//! | [`page`] | the control page: opened, or made |
//! | [`mark`] | from which PID namespace the page is mapped |
//! | [`status`] | is there a filter; the process's id |
//! | [`program`] | is this program gated, and what does the profile say of it |
//! | [`configure`] | the settings |
//! | [`after_exec`] | locks that came over an exec |

mod after_exec;
mod configure;
mod environment;
mod mark;
mod page;
mod program;
mod status;

use crate::linux::process::register_membarrier;
use crate::linux::{confined, files, memory, time};
use crate::resolve::{self, libc::ENVIRON};
use crate::this_process::profile_flags::PROFILE_FLAGS;
use crate::this_process::settings::settings_mut;
use crate::this_process::state::{
    self, BARRIER, CONTROL, GATED, MODE, ORDINARY, STARTING, STRONG, UNGATED, UNREADY, WIPED,
};
use crate::this_process::{family, region};
use configure::{configure, take_profile};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use gate::control::{Rank, SIZE};
use gate::name::is_name;
use gate::profile::Key;
use gate::region::{FLAG_CALLS_MISSING, FLAG_MORE_CALLS_MISSING};

extern "C" fn constructor() {
    start();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

/// Starts the library if it has not been started yet, from a hook that was called before the
/// constructor. Before libc itself has begun (`.preinit_array`) there is no
/// environment to believe: the call goes past, and the constructor starts.
#[cold]
pub fn begin() {
    if MODE.load(Acquire) != UNREADY {
        return;
    }
    resolve::all();
    if ENVIRON.value() != 0 {
        start();
    }
}

/// Starts the library; returns at once where another thread, or this one further up its
/// stack, is at it.
fn start() {
    if MODE.compare_exchange(UNREADY, STARTING, AcqRel, Relaxed).is_err() {
        return;
    }
    resolve::all();
    // SAFETY: this thread has moved MODE from UNREADY to STARTING just now, which succeeds once.
    let gated = unsafe { join() };
    MODE.store(if gated { GATED } else { UNGATED }, Release);
}

/// Everything up to the region; false: runs on ungated.
///
/// # Safety
/// The caller holds MODE at STARTING.
unsafe fn join() -> bool {
    let env = environment::read();
    if !is_name(env.gate) {
        return false;
    }
    if program::is_the_command() {
        return false;
    }
    let Some(page::Opened { page, file, status }) = page::open(&env) else { return false };
    // SAFETY: a mapping of a page's size, made just now; it stays as long as the process
    // lives, or is unmapped below, where nothing refers to it any more.
    let control = unsafe { &*page };
    // SAFETY: the caller holds MODE at STARTING.
    let settings = unsafe { settings_mut() };
    let meant = !program::is_freezers_child(&env, control)
        && take_profile(settings, control, file)
        && program::is_gated(settings.profile.str())
        && configure(settings, &env);
    if meant {
        mark::set(file, control);
    }
    files::close(file);
    if !meant {
        // SAFETY: `control` is not used any more, and is published nowhere.
        unsafe { memory::unmap(page.cast_mut().cast(), SIZE) };
        return false;
    }
    if let Some(clock) = resolve::vdso_clock() {
        time::use_vdso(clock);
    }
    let flags = program::flags(settings.profile.str());
    // The first one is in the pointer below: it costs nothing at each call.
    PROFILE_FLAGS.store(flags & !Key::First.flag(), Relaxed);
    state::LOCKS_NAMED.store(settings.has(Key::LockFile), Relaxed);
    // Both may be deadly under a filter, and it can do without: by a locked store for each
    // announcement, and by what the hook of fork does where the kernel does not wipe (also
    // before Linux 4.14).
    let may_ask = !confined::at_all();
    STRONG.store(!(may_ask && register_membarrier()), Relaxed);
    let wiped = (&raw const WIPED).cast();
    let is_wiped = may_ask && memory::wipe_on_fork(wiped, core::mem::size_of_val(&WIPED));
    state::NOT_WIPED.store(!is_wiped, Relaxed);
    let (first, sends) = (flags & Key::First.flag() != 0, flags & Key::HandOver.flag() != 0);
    let barrier = control.word(match (first, sends) {
        (true, true) => Rank::Sender,
        (true, false) => Rank::First,
        (false, _) => Rank::Last,
    });
    BARRIER.store((&raw const *barrier).cast_mut(), Release);
    CONTROL.store(page.cast_mut(), Release);
    if !region::make(status.pid) {
        return false;
    }
    if let Some(own) = state::region() {
        family::begin(own);
    }
    note_missing_calls();
    after_exec::take_over(confined::at_all().then_some(status.descriptors));
    // Not before: a process that loses its processor in between would look like one that
    // holds no lock, and its set, begun before the exec, like none.
    if let Some(own) = state::region() {
        region::show(own);
    }
    // Flags that matter only where a change begins a section, to which that way is no way.
    let elsewhere = Key::Parkable.flag() | Key::NewFiles.flag() | Key::HandOver.flag();
    if PROFILE_FLAGS.load(Relaxed) & !elsewhere == 0 && !STRONG.load(Relaxed) {
        ORDINARY.store((&raw const *barrier).cast_mut(), Release);
    }
    true
}

fn note_missing_calls() {
    let Some(region) = state::region() else { return };
    let mut places = region.header.missing.iter();
    for call in (1..gate::calls::COUNT).filter(|call| resolve::is_missing(*call)) {
        match places.next() {
            Some(place) => {
                place.store(call as u32, Relaxed);
                state::set_region_flag(FLAG_CALLS_MISSING);
            }
            None => state::set_region_flag(FLAG_MORE_CALLS_MISSING),
        }
    }
}
