//! Where each bit of the two words lies.

use crate::abi::constants;

constants! {
    /// Changes with the place of any bit.
    pub shape SHAPE;

    /// Both words: the sequence number, above everything else.
    pub const SEQUENCE_SHIFT: u32 = 32;

    /// A thread's word: its descriptor and one, or 0 for none.
    const FD_BITS: u32 = 20;
    pub const FD_MASK: u64 = (1 << FD_BITS) - 1;
    /// Bits of a thread's word that name its call...
    pub const CALL_BITS: u32 = 9;
    /// ... and where they lie.
    pub const CALL_SHIFT: u32 = FD_BITS;
    pub const CALL_MASK: u64 = (1 << CALL_BITS) - 1;
    /// A thread's word: what it is doing.
    pub const DOING_SHIFT: u32 = FD_BITS + CALL_BITS;
    pub const DOING_MASK: u64 = 7;

    /// A process's word: how many locks that guard writing it holds.
    pub const LOCKS_MASK: u64 = 0xffff;
    /// Its section is open.
    pub const SECTION: u64 = 1 << 16;
    /// Its section lasts until it waits.
    pub const UNTIL_WAIT: u64 = 1 << 17;
    /// Its section consists of a dotlock alone.
    pub const DOTLOCK_ONLY: u64 = 1 << 18;
    /// Its section is on record, and what is left to do, a child's.
    pub const RECORDED: u64 = 1 << 19;
    /// Its section lasts until it ends.
    pub const UNTIL_EXIT: u64 = 1 << 20;
    /// In its section so far only the small file was changed that it has locked: perhaps it has
    /// put its process id there, and holds the lock for life.
    pub const LOCK_FILE_ONLY: u64 = 1 << 21;
    /// Under the locks that it holds it has changed a file that no list protected
    /// ([`crate::places`]).
    pub const PASSED_BY: u64 = 1 << 22;
    /// Its section came over an exec, and no change of this program's has been let pass in it.
    pub const CAME_OVER: u64 = 1 << 23;
    /// How often the last lock went after [`PASSED_BY`] (wrapping): notes of other locks are told
    /// apart.
    pub const PERIOD_SHIFT: u32 = 24;
    pub const PERIOD_MASK: u64 = 0xff;
}
