//! The command's modules, but for its subcommands, as a library for the fuzz targets: the very files.
//!
//! | target | what is read | who writes it |
//! |---|---|---|
//! | `page` | a control page | root, but of another version or cut off |
//! | `region` | regions, also while they change | each process of the service |
//! | `profile` | a profile, and its patterns against paths | root; the paths anybody |
//! | `token` | a token | anybody |
//! | `proc` | texts of /proc | the kernel, with names by anybody |
//! | `fanotify` | records of changes | the kernel, with names by anybody |
//! | `report` | the record, last, counters, history; the helper's messages | root, but of another version or cut off |
#![allow(dead_code, missing_docs)]

#[path = "../../src/census/mod.rs"]
pub mod census;
#[path = "../../src/drive/mod.rs"]
pub mod drive;
#[path = "../../src/duration.rs"]
pub mod duration;
#[path = "../../src/evidence/mod.rs"]
pub mod evidence;
#[path = "../../src/foreign_text.rs"]
pub mod foreign_text;
#[path = "../../src/freeze/mod.rs"]
pub mod freeze;
#[path = "../../src/gatedir/mod.rs"]
pub mod gatedir;
#[path = "../../src/hold/mod.rs"]
pub mod hold;
#[path = "../../src/linux/mod.rs"]
pub mod linux;
#[path = "../../src/outcome/mod.rs"]
pub mod outcome;
#[path = "../../src/places/mod.rs"]
pub mod places;
