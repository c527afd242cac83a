//! A number that changes when what it was made of changes; made while compiling.

/// FNV-1a, 64 bits. It guards against mistakes, not against attacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest(u64);

impl Digest {
    /// Of nothing.
    pub const fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    const fn byte(self, byte: u8) -> Digest {
        Digest((self.0 ^ byte as u64).wrapping_mul(0x100_0000_01b3))
    }

    /// And this number.
    pub const fn number(mut self, number: u64) -> Digest {
        let bytes = number.to_le_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self = self.byte(bytes[at]);
            at += 1;
        }
        self
    }

    /// And this text. Blanks do not count: compilers differ in where `stringify!` puts them.
    pub const fn text(mut self, text: &str) -> Digest {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != b' ' {
                self = self.byte(bytes[at]);
            }
            at += 1;
        }
        // No text holds this byte: "ab", "c" is not "a", "bc".
        self.byte(0xff)
    }

    /// The number.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl Default for Digest {
    fn default() -> Self {
        Digest::new()
    }
}
