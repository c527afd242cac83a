//! The protocol on real threads, real processes and real shared memory.
//!
//! | file | duty |
//! |---|---|
//! | `world` | the shared memory: control page, regions, and the oracle's counters |
//! | `worker` | what workers do, step for step as the preloaded library does it |
//! | `freezer` | obeys `gate::drain`, reads with `gate::summary`, asks the oracle |
//! | `processors` | one for each side, and whether they got it |
//!
//! The oracle is not the regions. Every entry writes a number before and after
//! what it does; every set consists of two numbers that agree whenever its section
//! is over. The freezer reads them twice inside its window.

pub mod freezer;
pub mod processors;
pub mod worker;
pub mod world;

/// What is left out. Each must show violations, or this test could not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing: the protocol as it is shipped.
    None,
    /// No membarrier at all.
    NoFence,
    /// None after an opening.
    NoFenceAfterOpening,
    /// What one pass saw is believed.
    OnePass,
    /// A fork under a lock is no entry and begins no section.
    ForkIsNoEntry,
}
