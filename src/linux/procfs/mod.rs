//! What `/proc` says about processes.
//!
//! `stat`, `status`, `fdinfo`, `exe`, `cgroup`, `task` do not take a process's `mmap_lock`: none
//! of them can hang on one that is stuck in a fault on a dead disk. [`maps`], [`environ`] and [`auxv`] do,
//! and are the business of a child that may hang in our stead.

pub mod auxv;
pub mod bounded;
mod children;
pub mod done;
pub mod environ;
mod hidden;
pub mod inodes_told;
pub mod locks;
pub mod maps;
pub mod mounts;
pub mod origin;
pub mod shared_mappings;
#[cfg(test)]
pub mod sleeper;
pub mod stat;
pub mod status;
pub mod task;
mod view;

pub use children::Children;
pub use hidden::hides_processes;
pub use origin::{Origin, origin};
pub use stat::{
    Stat, last_pid, look_at, pids, runs_a_program, seen_by, stat, thread_stat, threads,
};
pub use status::{
    cgroup, effective_capabilities, exe, innermost_pid, may_look_into_others, mount_namespace,
    process_of, sees_as_we_do, tracer, uid,
};
pub use task::{
    hangs, is_exiting, opens_a_fifo, stack_pointer, syscall_fd, thread, waits_for_others, works,
};
pub use view::root_and_namespace;
