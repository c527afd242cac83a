//! May a page or a region be believed at all?

use crate::control::{self, ControlPage};
use crate::layout::LAYOUT;
use crate::region::{self, Header, SLOTS};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Why a page cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadPage {
    /// No control page at all, or one that is still being made.
    Magic,
    /// Of this layout: another version of writegate made it.
    Layout(u32),
    /// Made in another boot of this machine.
    Boot,
}

impl ControlPage {
    /// May a process of this boot believe the page?
    pub fn check(&self, boot_id: &[u8; 16]) -> Result<(), BadPage> {
        if self.magic.load(Acquire) != control::MAGIC {
            return Err(BadPage::Magic);
        }
        let layout = self.layout.load(Relaxed);
        if layout != LAYOUT || self.size.load(Relaxed) as usize != control::SIZE {
            return Err(BadPage::Layout(layout));
        }
        if self.boot_id != *boot_id {
            return Err(BadPage::Boot);
        }
        Ok(())
    }
}

/// Why a mapping is not a region, or not this process's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRegion {
    /// Some other anonymous mapping, or one still being filled.
    NotARegion,
    /// Of this layout: the process runs an older or newer library.
    Layout(u32),
    /// Inherited over fork: the process has none of its own yet.
    NotItsOwn,
    /// Numbers that cannot be (a region that lies).
    Nonsense,
}

impl Header {
    /// Does this header, read from process `pid` (in its own namespace), hold?
    pub fn check(&self, pid: i32) -> Result<(), BadRegion> {
        if self.magic.load(Acquire) != region::MAGIC {
            return Err(BadRegion::NotARegion);
        }
        let layout = self.layout.load(Relaxed);
        if layout != LAYOUT {
            return Err(BadRegion::Layout(layout));
        }
        if self.slots.load(Relaxed) as usize != SLOTS
            || self.slots_used.load(Relaxed) as usize > SLOTS
            || self.nonce.load(Relaxed) == 0
        {
            return Err(BadRegion::Nonsense);
        }
        if self.pid.load(Relaxed) != pid {
            return Err(BadRegion::NotItsOwn);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    #[test]
    fn a_page_of_another_boot_or_layout_is_refused() {
        // SAFETY: `Shared`: all zero bytes are a page.
        let page: Box<ControlPage> = unsafe { Box::new_zeroed().assume_init() };
        assert_eq!(page.check(&[0; 16]), Err(BadPage::Magic));
        page.magic.store(control::MAGIC, Relaxed);
        assert_eq!(page.check(&[0; 16]), Err(BadPage::Layout(0)));
        page.layout.store(LAYOUT, Relaxed);
        page.size.store(control::SIZE as u32, Relaxed);
        assert_eq!(page.check(&[0; 16]), Ok(()));
        assert_eq!(page.check(&[1; 16]), Err(BadPage::Boot));
        page.layout.store(LAYOUT ^ 1, Relaxed);
        assert_eq!(page.check(&[0; 16]), Err(BadPage::Layout(LAYOUT ^ 1)));
    }

    #[test]
    fn a_region_of_another_layout_or_process_or_with_nonsense_is_refused() {
        // SAFETY: `Shared`: all zero bytes are a header.
        let header: Box<Header> = unsafe { Box::new_zeroed().assume_init() };
        assert_eq!(header.check(7), Err(BadRegion::NotARegion));
        header.magic.store(region::MAGIC, Relaxed);
        header.layout.store(1, Relaxed);
        assert_eq!(header.check(7), Err(BadRegion::Layout(1)));
        header.layout.store(LAYOUT, Relaxed);
        assert_eq!(header.check(7), Err(BadRegion::Nonsense));
        header.slots.store(SLOTS as u32, Relaxed);
        header.nonce.store(5, Relaxed);
        assert_eq!(header.check(7), Err(BadRegion::NotItsOwn));
        header.pid.store(7, Relaxed);
        assert_eq!(header.check(7), Ok(()));
        header.slots_used.store(SLOTS as u32 + 1, Relaxed);
        assert_eq!(header.check(7), Err(BadRegion::Nonsense));
    }
}
