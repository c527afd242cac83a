//! What differs by processor.
//!
//! | module | duty |
//! |---|---|
//! | `instructions` | system calls, the thread-local word, single instructions |
//! | `memory_functions` | memcpy and its kind, which the compiler calls |
//! | `trampoline` | the bodies of the exports |
//! | `look_up` | the bodies of `dlsym` and `dlvsym` |
//! | `straight` | the straight way through an ordinary change |
//! | `past` | the ways past the hook, for calls that it rarely concerns |
//! | `children` | fork and the waits for a child, in their ordinary cases |

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::{children, instructions, look_up, past, straight, trampoline};

#[cfg(not(target_arch = "x86_64"))]
compile_error!("writegate's trampolines exist for x86_64 only so far");
