//! The process that may hang in our stead.
//!
//! Whatever takes another process's `mmap_lock` (`maps`, `map_files`, `process_vm_readv`,
//! `cmdline`, `environ`) blocks, sometimes unkillably, while that process is stuck in a fault
//! or an mmap on a hung disk. So a child of ours does it. If it does not answer in time it is
//! killed (or left to its fate) and the process at fault is never asked about again.
//!
//! | module | duty |
//! |---|---|
//! | [`protocol`] | what is asked and answered |
//! | [`owner`] | the owner's side |
//! | `child` | the child's side: reads questions, answers |
//! | `lock_files` | lock files that patterns name |
//! | `look` | what a process is: by its maps, on its way through exec |
//! | `mappings` | which files a process can change by a store alone |
//! | `pages` | the pages that a look is about, and how anonymous memory shows |
//! | `patience` | how much time the processes of one user are given |
//! | `programs` | whether it is a static program, or one that loads others |
//! | `region` | finds, maps or copies the region of a process |

mod child;
mod lock_files;
mod look;
mod mappings;
pub mod owner;
mod pages;
pub mod patience;
mod programs;
pub mod protocol;
mod region;

pub use look::DEFAULT_DIR;
pub use pages::own_page;
