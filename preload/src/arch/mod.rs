//! What differs by processor.
//!
//! | module | duty |
//! |---|---|
//! | `instructions` | system calls, the thread-local word, single instructions |
//! | `memory_functions` | memcpy and its kind, which the compiler calls |
//! | `trampoline` | the bodies of the exports |
//! | `straight` | the straight way through an ordinary change |

#[cfg(target_arch = "x86_64")]
#[path = "x86_64/instructions.rs"]
pub mod instructions;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/memory_functions.rs"]
mod memory_functions;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/straight.rs"]
pub mod straight;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/trampoline.rs"]
pub mod trampoline;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("writegate's trampolines exist for x86_64 only so far");
