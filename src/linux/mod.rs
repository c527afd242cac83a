//! What is asked of the kernel. The only folder of the command where `unsafe` is allowed, and there
//! only in the files whose first lines say so.
//!
//! | module | asked for |
//! |---|---|
//! | [`clock`] | time, and sleep |
//! | [`mapping`] | shared memory, to be read where another process writes |
//! | [`look`] | what may come of a look: a look that failed is no absence |
//! | [`look_time`] | how long a look may take whose length another process decides |
//! | [`descriptors`] | how many files may be open |
//! | [`futex`], [`membarrier`] | waking waiters; making their plain stores visible |
//! | [`process`], [`poll`] | handles on processes, signals to them; which descriptors are ready |
//! | [`foreign`] | another process's memory, and an anonymous file to keep a copy in |
//! | [`library`] | the layout that a process's library speaks |
//! | [`namespaces`], [`marks`] | which PID namespace a process is in; from which ones a page is mapped |
//! | [`user_namespaces`] | who is who inside and outside of one |
//! | [`sleeps`] | the system calls in which a thread may sleep, and what ends that |
//! | [`program_file`] | what a program says of itself: static, word size, where its text lies |
//! | [`file`] | locks, cached attributes, random bytes |
//! | [`priority`] | how urgently the kernel runs us |
//! | [`standard_streams`] | whether stdout and stderr were there when we were started |
//! | [`terminal`] | the window's size |
//! | [`signals`], [`ending`] | the thread that takes the signals that end a freeze; which these are |
//! | [`fork`] | children of our own |
//! | [`directory`] | directories that others may have named |
//! | [`namesake`] | a gate of the same name in a container |
//! | [`in_file_system`] | where in its file system one lies, by the mount tables |
//! | [`fanotify`] | changes to files |
//! | [`births`] | who was made by whom |
//! | [`unix_sockets`] | which local sockets are connected |
//! | [`procfs`] | `/proc` |
//! | [`ptrace`] | stopping other processes' threads |
//! | [`helper`], [`bounded_child`] | children that may hang in our stead: one that answers again and again, one for a single answer |

pub mod births;
pub mod bounded_child;
pub mod clock;
pub mod descriptors;
pub mod directory;
pub mod ending;
pub mod fanotify;
pub mod file;
pub mod foreign;
pub mod fork;
pub mod futex;
pub mod helper;
pub mod in_file_system;
pub mod library;
pub mod look;
pub mod look_time;
pub mod mapping;
pub mod marks;
pub mod membarrier;
pub mod namesake;
pub mod namespaces;
pub mod poll;
pub mod priority;
pub mod process;
pub mod procfs;
pub mod program_file;
pub mod ptrace;
pub mod replace;
pub mod signals;
pub mod sleeps;
pub mod standard_streams;
pub mod terminal;
pub mod unix_sockets;
pub mod user_namespaces;
