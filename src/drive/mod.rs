//! The loop that carries out what `gate::drain` and `gate::thaw` ask for.

pub mod barrier;
pub mod cooldown;
pub mod engine;
pub mod pass;
pub mod quiesce;
pub mod quiet;
pub mod run;
pub mod settled;
