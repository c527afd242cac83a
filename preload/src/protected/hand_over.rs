//! Is what is sent on a socket handed over to another process of this machine?
//!
//! A program that keeps a lock while another process works for it (an MTA's client
//! that hands a message to a store) begins, by sending, a set that it finishes itself:
//! the profile's `hand-over`. A peer on another machine, or one that has no name (the
//! other end of a socket pair, the client of a service), is none.

use crate::linux::files::address;
use crate::text::Buffer;
use crate::this_process::lock_table::process_word;
use crate::this_process::profile_flags::applies;
use crate::this_process::settings::settings;
use crate::this_process::state::region;
use core::sync::atomic::Ordering::Relaxed;
use gate::profile::Key;
use linux_raw_sys::net;

const AF_UNIX: u16 = net::AF_UNIX as u16;
const AF_INET: u16 = net::AF_INET as u16;
const AF_INET6: u16 = net::AF_INET6 as u16;
/// What an IPv6 address begins with that stands for an IPv4 address.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Does sending on this socket count as a change?
#[inline(never)]
pub fn is_one(fd: i32) -> bool {
    if !applies(Key::HandOver) || !has_something_to_record() {
        return false;
    }
    let mut peer = [0u8; 128];
    let len = address(fd, true, &mut peer);
    let mut text = Buffer::<128>::new();
    match peer {
        [a, b, ref rest @ ..] if len > 2 => match u16::from_ne_bytes([a, b]) {
            AF_UNIX => path(rest.get(..len as usize - 2).unwrap_or(&[]), &mut text),
            AF_INET | AF_INET6 if !is_here(fd, &peer) => return false,
            AF_INET => inet(rest, &mut text),
            AF_INET6 => inet6(rest, &mut text),
            _ => return false,
        },
        _ => return false,
    }
    let settings = settings();
    !settings.has(Key::HandOverTo) || settings.given(Key::HandOverTo, text.bytes())
}

/// Under a lock, or a child forked by a process that may hold one.
fn has_something_to_record() -> bool {
    region().is_some_and(|region| {
        process_word(region).locks() > 0 || region.header.parent_nonce.load(Relaxed) != 0
    })
}

/// A socket's path; an abstract name begins with `@`.
fn path(name: &[u8], text: &mut Buffer<128>) {
    match name {
        [0, name @ ..] => {
            text.push(b"@");
            text.push(name);
        }
        _ => text.push(name.split(|c| *c == 0).next().unwrap_or(&[])),
    }
}

/// Is the peer this very machine: a loopback address, or the socket's own?
fn is_here(fd: i32, peer: &[u8; 128]) -> bool {
    let mut own = [0u8; 128];
    if address(fd, false, &mut own) < 0 {
        return false;
    }
    let far = host(peer);
    let loopback = match far {
        [127, _, _, _] => true,
        [first @ .., last] if far.len() == 16 => {
            let mapped = far.strip_prefix(&MAPPED).is_some_and(|v4| v4.first() == Some(&127));
            mapped || *last == 1 && first.iter().all(|b| *b == 0)
        }
        _ => false,
    };
    loopback || !far.is_empty() && far == host(&own)
}

/// The bytes of an internet address.
fn host(address: &[u8; 128]) -> &[u8] {
    match u16::from_ne_bytes([address[0], address[1]]) {
        AF_INET => address.get(4..8).unwrap_or(&[]),
        AF_INET6 => address.get(8..24).unwrap_or(&[]),
        _ => &[],
    }
}

/// `127.0.0.1:24`, of what follows the family.
fn inet(rest: &[u8], text: &mut Buffer<128>) {
    let [p, q, a, b, c, d, ..] = rest else { return };
    dotted(&[*a, *b, *c, *d], text);
    text.push(b":");
    text.push_number(u16::from_be_bytes([*p, *q]) as u64);
}

fn dotted(host: &[u8], text: &mut Buffer<128>) {
    for (at, byte) in host.iter().enumerate() {
        if at > 0 {
            text.push(b".");
        }
        text.push_number(*byte as u64);
    }
}

/// `[::1]:24`, an IPv4 peer of an IPv6 socket as itself, any other in full.
fn inet6(rest: &[u8], text: &mut Buffer<128>) {
    let (Some([p, q]), Some(host)) = (rest.get(..2), rest.get(6..22)) else { return };
    if let Some(v4) = host.strip_prefix(&MAPPED) {
        dotted(v4, text);
    } else if host.iter().rev().skip(1).all(|b| *b == 0) {
        text.push(b"[::1]");
    } else {
        let mut open: &[u8] = b"[";
        for pair in host.chunks(2) {
            text.push(open);
            let value = pair.iter().fold(0u16, |value, b| value << 8 | *b as u16);
            text.push_hex(value as u64);
            open = b":";
        }
        text.push(b"]");
    }
    text.push(b":");
    text.push_number(u16::from_be_bytes([*p, *q]) as u64);
}
