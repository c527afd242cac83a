//! What speaks for or against the snapshot, beside the drain itself.
//!
//! | module | duty |
//! |---|---|
//! | [`gathered`] | gathers it step by step, from before the barrier to the thaw |
//! | [`judged`] | after the thaw: what it comes to |
//! | [`wanted`] | what is asked of it |
//! | [`standing`] | what speaks against a snapshot as the processes stand: for freeze, status and doctor |
//! | [`coverage`] | processes that ought to be gated and are not |
//! | [`writers`], `holders` | of those: that have a protected file open, that hold a write lock |
//! | `watch`, `whereabouts`, `hard_links` | changes while the gate is closed; where; of files that have other names |
//! | `moment` | when the watch began |
//! | `stands` | whether the protected directories stand where they stood, and nothing else |
//! | `own` | whose a change is: the command's, or another's |
//! | `recent` | the latest of many |
//! | [`watching`] | what is done while the command runs |
//! | `mappings` | protected files that a store alone can change |
//! | `mapped_since` | who may have mapped one between two looks |
//! | [`to_hold`] | whom the gate cannot hold and the tracer can |
//! | [`without_gate`] | the evidence of a freeze without a gate |
//! | `flush` | `--sync` |
//! | [`concern`] | whom a failed look concerns |
//! | `ancestry` | the freezer's own processes |
//! | `samples` | for unit tests: a census, a stranger |

pub mod ancestry;
pub mod concern;
pub mod coverage;
mod flush;
pub mod gathered;
mod hard_links;
mod holders;
pub mod judged;
mod mapped_since;
mod mappings;
mod moment;
mod own;
mod recent;
#[cfg(test)]
mod samples;
pub mod standing;
mod stands;
pub mod to_hold;
pub mod wanted;
mod watch;
pub mod watching;
mod whereabouts;
pub mod without_gate;
pub mod writers;
