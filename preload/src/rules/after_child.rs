//! A child has ended: the lock files that it has made for this process, and those that it has removed.

use super::{lock_files, lock_helpers};
use crate::linux::confined;
use crate::linux::files::may_be_at;
use crate::text::Path;
use crate::this_process::lock_table::{file_lost, shares_memory};
use crate::this_process::mailbox::mailbox;
use crate::this_process::state::Region;
use core::sync::atomic::Ordering::Relaxed;
use gate::mailbox::{About, From, Mailbox, Message};
use lock_helpers::Left;

/// A child has ended, well or not: what it has locked for this process, and what it has unlocked.
#[inline(never)]
pub fn lock_files(region: &'static Region, child: From, well: bool) {
    if shares_memory(region) {
        return;
    }
    if let Some(mailbox) = mailbox().filter(|mailbox| Mailbox::is_used(mailbox)) {
        let own = region.header.pid.load(Relaxed);
        mailbox.take(child, own, |message| read(region, message, well));
        if let From::Child(child) = child
            && mailbox.take_lost(child)
            && well
        {
            file_lost(region);
        }
    }
    lock_files::forget_gone(region);
}

/// The same of a child of libc's own, for which this was kept.
pub fn of_this_call(region: &'static Region, left: Left, well: bool) {
    if shares_memory(region) {
        return;
    }
    match left {
        Left::Nothing => {}
        Left::Message(ticket) => {
            if let Some(mailbox) = mailbox() {
                let own = region.header.pid.load(Relaxed);
                mailbox.take_kept(ticket, own, |message| read(region, message, well));
            }
        }
        Left::Lost if well => file_lost(region),
        Left::Lost => {}
    }
    lock_files::forget_gone(region);
}

fn read(region: &'static Region, message: &Message, well: bool) {
    if !well {
        return;
    }
    match message.about {
        About::Command(since) => lock_helpers::has_ended(region, message, since),
        About::File(dev, ino) => is_left(region, message, (dev, ino)),
    }
}

/// It has made this file. Where that must not be asked, it is there still.
#[inline(never)]
fn is_left(region: &'static Region, message: &Message, file: (u64, u64)) {
    let mut path = Path::new();
    message.text().for_each(|byte| path.push(&[byte]));
    // SAFETY: a `Buffer` always ends with a NUL.
    if confined::by_itself() || unsafe { may_be_at(path.c(), file) } {
        lock_files::enter_for_child(region, file, &path);
    }
}
