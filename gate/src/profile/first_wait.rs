//! The value of `first-wait`.

/// How the others are waited for after those that are held `first`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstWait {
    /// For so long at most (ns).
    AtMost(u64),
    /// Until each of them has been seen to wait.
    Quiesced,
}

/// `200ms`; at most a second.
fn milliseconds(value: &str) -> Option<u64> {
    value.strip_suffix("ms")?.parse().ok().filter(|ms| (1..=1000).contains(ms))
}

/// What such a value says; none: nothing that it may say.
pub(super) fn parse(value: &str) -> Option<FirstWait> {
    if value == "rest" {
        return Some(FirstWait::Quiesced);
    }
    milliseconds(value).map(|ms| FirstWait::AtMost(ms * 1_000_000))
}

/// What is wrong with such a value.
pub(super) fn time_or_rest(value: &str) -> Option<&'static str> {
    parse(value).is_none().then_some("expected 1ms to 1000ms, or rest")
}
