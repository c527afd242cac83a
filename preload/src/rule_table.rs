//! What to do about a call, by its number.

use gate::calls::{CWD, Rule};

macro_rules! rules {
    ($($kind:ident $name:ident [$($alias:ident)*] $body:tt $what:literal;)*) => {
        /// What to do, by the call's number. An array of its own: the table's
        /// names are pointers, and each would be a relocation at every start.
        static RULES: [Option<Rule>; gate::calls::COUNT] = [None, $(one!($kind $body)),*];
    };
}

macro_rules! one {
    (look_up ()) => {
        None
    };
    (variadic $target:tt) => {
        None
    };
    (listed $target:tt) => {
        None
    };
    (call ($rule:ident $($arg:tt)*)) => {
        Some(Rule::$rule $($arg)*)
    };
}

gate::for_each_call!(rules);

/// The rule of a call.
pub fn rule(call: u16) -> Option<Rule> {
    RULES.get(call as usize).copied().flatten()
}
