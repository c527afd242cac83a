//! Nothing: what this package has are its tests, `model_*.rs` and `stress_barrier.rs`.
