//! The two facts that stand beside a verdict: how much was covered, and how much was watched.

use serde::{Deserialize, Serialize};

/// How much of the service the gate covers; the better before the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Everything that could be seen of the service is gated.
    Full,
    /// Some process, or some way to write, is not, or could not be looked at.
    Partial,
    /// Nothing is.
    None,
}

impl Coverage {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Coverage::Full => "full",
            Coverage::Partial => "partial",
            Coverage::None => "none",
        }
    }
}

/// How far the protected places were watched for changes; the better before the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watched {
    /// Names and contents.
    Full,
    /// Contents alone.
    Contents,
    /// Not at all, or not everywhere.
    None,
}

impl Watched {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Watched::Full => "full",
            Watched::Contents => "contents",
            Watched::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_printed_as_it_stands_in_the_record_and_the_worse_counts_more() {
        let coverage = [Coverage::Full, Coverage::Partial, Coverage::None];
        assert_eq!(coverage.map(Coverage::name), ["full", "partial", "none"]);
        assert!(coverage.is_sorted());
        for one in coverage {
            assert_eq!(serde_json::to_value(one).unwrap(), one.name());
        }
        let watched = [Watched::Full, Watched::Contents, Watched::None];
        assert_eq!(watched.map(Watched::name), ["full", "contents", "none"]);
        assert!(watched.is_sorted());
        for one in watched {
            assert_eq!(serde_json::to_value(one).unwrap(), one.name());
        }
    }
}
