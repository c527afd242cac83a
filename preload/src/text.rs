//! Small text work without allocation: paths in fixed buffers, C strings, numbers.

/// A path.
pub type Path = Buffer<1024>;

/// A text being built; too long a one is marked, never cut silently.
pub struct Buffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
    /// Did not fit.
    pub too_long: bool,
}

impl<const N: usize> Buffer<N> {
    /// Empty.
    pub const fn new() -> Self {
        Buffer { bytes: [0; N], len: 0, too_long: false }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.len = 0;
        self.too_long = false;
    }

    /// Appends bytes.
    pub fn push(&mut self, part: &[u8]) {
        // One byte stays for the NUL.
        match self.bytes.get_mut(self.len..self.len + part.len() + 1) {
            Some(room) => {
                for (to, from) in room.iter_mut().zip(part) {
                    *to = *from;
                }
                self.len += part.len();
                if let Some(end) = self.bytes.get_mut(self.len) {
                    *end = 0;
                }
            }
            None => self.too_long = true,
        }
    }

    /// Appends a number.
    pub fn push_number(&mut self, number: u64) {
        self.push_in_base(number, 10);
    }

    /// Appends a number in hexadecimal digits.
    pub fn push_hex(&mut self, number: u64) {
        self.push_in_base(number, 16);
    }

    fn push_in_base(&mut self, number: u64, base: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            if let Some(digit) = digits.get_mut(at) {
                *digit = match (rest % base) as u8 {
                    value @ 0..=9 => b'0' + value,
                    value => b'a' - 10 + value,
                };
            }
            rest /= base;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(at..).unwrap_or(&[]));
    }

    /// What is there.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// For the kernel.
    pub fn c(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    /// Fills it with what `read` puts into a buffer and says the length of.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> isize) -> bool {
        let room = self.bytes.len() - 1;
        let Some(buffer) = self.bytes.get_mut(..room) else { return false };
        let len = read(buffer);
        self.too_long = len >= room as isize;
        self.len = if len > 0 { (len as usize).min(room) } else { 0 };
        if let Some(end) = self.bytes.get_mut(self.len) {
            *end = 0;
        }
        len > 0
    }

    /// Removes one trailing byte if it is this.
    pub fn trim_end(&mut self, byte: u8) {
        if self.bytes().last() == Some(&byte) {
            self.len -= 1;
            if let Some(end) = self.bytes.get_mut(self.len) {
                *end = 0;
            }
        }
    }
}

/// The bytes of a C string.
///
/// # Safety
/// Null, or a C string that lives as long as the result is used.
pub unsafe fn c_string<'a>(at: *const u8) -> &'a [u8] {
    if at.is_null() {
        return &[];
    }
    let mut len = 0;
    // SAFETY: reads no byte after the NUL, which is there by the caller's promise.
    unsafe {
        while *at.add(len) != 0 {
            len += 1;
        }
        core::slice::from_raw_parts(at, len)
    }
}

/// A decimal number and what follows it.
pub fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    let mut len = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value.checked_mul(10)?.checked_add((byte - b'0') as u64)?;
        len += 1;
    }
    (len > 0).then(|| (value, text.get(len..).unwrap_or(&[])))
}

/// The line of `text` that begins with `prefix`, without it.
pub fn line<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    text.split(|c| *c == b'\n').find_map(|line| line.strip_prefix(prefix))
}
