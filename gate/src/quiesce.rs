//! Whether the processes that are not held yet have put down what follows from what the programs
//! that are held `first` did last.
//!
//! A process that has been told something (a message, a child's exit) is awake until it has acted on
//! it, and then sleeps again. So after the first ones have been seen to wait, each process is
//! asked until it has been seen asleep *once*, in rounds: the first ones that are still
//! there (they may pass on what a child of theirs has done), then all others, and these
//! again for each hand that the news goes through.
//!
//! Why one look at each, and not a moment at which all sleep: such a moment never comes on
//! a busy server. In a round every process is seen asleep after the last round has ended,
//! so whatever it had been told by then it has passed on before this one ends.

/// Through how many hands news goes at most: from an agent by its exit to its parent, to
/// the process that keeps its sessions, to the queue; and one more.
pub const HANDS: u32 = 4;
/// The same, where the time is bounded.
pub const HANDS_IN_TIME: u32 = 3;

/// The rounds of one drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Rounds {
    over: u32,
}

impl Rounds {
    /// Is such a process asked in the present round?
    pub fn asks(self, first: bool) -> bool {
        (self.over == 0) == first
    }

    /// Every process that is asked has been seen asleep: the next round begins.
    pub fn next(&mut self) {
        self.over += 1;
    }

    /// Is all done, where news goes through so many hands?
    pub fn are_over(self, hands: u32) -> bool {
        self.over > hands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_are_asked_first_then_the_others_once_for_each_hand() {
        let mut rounds = Rounds::default();
        assert!(rounds.asks(true) && !rounds.asks(false) && !rounds.are_over(0));
        rounds.next();
        assert!(!rounds.asks(true) && rounds.asks(false));
        assert!(rounds.are_over(0) && !rounds.are_over(1));
        rounds.next();
        assert!(rounds.asks(false) && rounds.are_over(1));
    }
}
