//! The mark on a mapping of the control page: in which PID namespace its process was started.
//!
//! A freezer is shown the processes of its own PID namespace and of those below it, and no others: in
//! a container it sees nobody of the host and of other containers. If one of these maps the same
//! page, nothing in `/proc` says so. So a process marks its mapping: with a read lock of one byte on
//! the page's file, at the place that its namespace's number gives. The lock belongs to the open
//! file (OFD), and the mapping keeps that open: it ends with the last mapping that came from it, and
//! takes no more than the right to read. Everybody can ask the kernel where such locks are.
//!
//! In the first PID namespace nothing is marked while the page was made there too: whoever freezes
//! there sees everybody, and who freezes elsewhere is told by the page ([`hidden`]).

/// The number of the machine's first PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
pub const FIRST: u64 = 0xEFFF_FFFC;
/// A namespace whose number cannot be told.
pub const UNKNOWN: u64 = 0;

/// Where in the file marks begin: beyond all that it holds.
pub const BEGIN: u64 = 1 << 40;
/// So many places there are: the kernel's numbers have 32 bits.
pub const PLACES: u64 = 1 << 32;

/// The place of a namespace's mark.
pub fn place(namespace: u64) -> u64 {
    BEGIN + namespace % PLACES
}

/// Does a process of this namespace mark its mapping of a page that was made in that one?
pub fn is_marked(own: u64, made_in: u64) -> bool {
    own != FIRST || made_in != FIRST
}

/// Who may map a page and cannot be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    /// Processes of the first PID namespace, which mark no mapping of a page that was made there.
    OfTheHost,
    /// A process of this namespace, or of one that could not be told.
    Of(u64),
}

/// Who may map a page and cannot be seen by a freezer in namespace `own`, by the page, the marks
/// and what it sees; none: it sees all of them.
pub fn hidden(
    own: u64,
    made_in: u64,
    marks: impl IntoIterator<Item = u64>,
    is_seen: impl Fn(u64) -> bool,
) -> Option<Hidden> {
    if own == FIRST {
        return None;
    }
    let seen = |namespace: u64| namespace != UNKNOWN && (namespace == own || is_seen(namespace));
    match marks.into_iter().find(|namespace| !seen(*namespace)) {
        Some(FIRST) => Some(Hidden::OfTheHost),
        Some(other) => Some(Hidden::Of(other)),
        None if made_in == FIRST => Some(Hidden::OfTheHost),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 4026532187;
    const B: u64 = 4026532188;
    const BELOW: u64 = 4026532189;

    #[test]
    fn in_the_first_namespace_everybody_is_seen() {
        assert_eq!(hidden(FIRST, FIRST, [A, B], |_| false), None);
        assert_eq!(hidden(FIRST, A, [A, B, FIRST, UNKNOWN], |_| false), None);
    }

    #[test]
    fn in_another_one_whoever_marks_must_be_seen() {
        let below = |namespace: u64| namespace == BELOW;
        assert_eq!(hidden(A, A, [A], |_| false), None);
        assert_eq!(hidden(A, B, [A], |_| false), None, "whoever made the page is gone");
        assert_eq!(hidden(A, A, [A, BELOW], below), None);
        assert_eq!(hidden(A, A, [A, B, BELOW], below), Some(Hidden::Of(B)));
        assert_eq!(hidden(A, A, [UNKNOWN], |_| true), Some(Hidden::Of(UNKNOWN)));
        assert_eq!(hidden(A, A, [FIRST], |_| false), Some(Hidden::OfTheHost));
        assert_eq!(hidden(UNKNOWN, A, [A], |_| false), Some(Hidden::Of(A)));
    }

    #[test]
    fn a_page_of_the_host_may_be_mapped_there_without_a_mark() {
        assert_eq!(hidden(A, FIRST, [A], |_| false), Some(Hidden::OfTheHost));
        assert!(!is_marked(FIRST, FIRST));
        for (own, made_in) in [(A, FIRST), (FIRST, A), (FIRST, UNKNOWN), (UNKNOWN, FIRST), (A, A)] {
            assert!(is_marked(own, made_in), "{own} {made_in}");
        }
    }

    #[test]
    fn each_namespace_has_its_place() {
        assert!(place(A) != place(B) && place(UNKNOWN) == BEGIN);
        assert!(place(u32::MAX as u64) < BEGIN + PLACES);
    }
}
