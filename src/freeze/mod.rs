//! One freeze from beginning to end, whichever asked for it: `freeze -- CMD`, the
//! keeper, `rehearse`.
//!
//! | module | duty |
//! |---|---|
//! | [`options`] | what is asked for |
//! | [`session`] | opens what a freeze needs |
//! | [`attempt`] | prepares, drains again and again if it must, thaws |
//! | [`beside`], [`held_beside`], [`hold_end`] | whom the gate cannot hold, stopped at rest beside the barrier; what is held so; how a hold ended |
//! | [`without_gate`] | the same without a gate: processes held by the tracer alone |
//! | [`record`], `passed` | makes the record; which process passed the closed barrier |
//! | [`wrapped`], [`preload`] | the snapshot command; what it must not be preloaded with |
//! | [`token`], [`caller`], [`keeper`], [`last`] | a freeze that another command thaws: the command that asks for it, and the process that holds it; what it leaves for a thaw that comes late |

pub mod attempt;
pub mod beside;
pub mod caller;
pub mod held_beside;
pub mod hold_end;
pub mod keeper;
pub mod last;
pub mod options;
mod passed;
mod places;
pub mod preload;
pub mod record;
pub mod session;
pub mod token;
pub mod without_gate;
pub mod wrapped;
