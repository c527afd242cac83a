//! What differs by processor.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;
#[cfg(target_arch = "x86_64")]
mod x86_64_straight;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_straight::straight_bracket;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("writegate's trampolines exist for x86_64 only so far");
