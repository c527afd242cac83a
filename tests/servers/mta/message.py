#!/usr/bin/env python3
"""Numbered messages that can prove to be whole, and how to find them again.

Each message carries its number in the header and, as its last line, the number
and a checksum of the body.  So a reader can tell a whole copy from a cut one
wherever it lies: an mbox, a maildir, a queue file.
"""
import re
import zlib

NUMBER = re.compile(rb"^X-Number: ([A-Za-z0-9.-]+)\r?$", re.M)
END = re.compile(rb"^END ([A-Za-z0-9.-]+) ([0-9a-f]{8})\r?\n", re.M)
# Bounces quote the original; such numbers are about a message, not a copy of it.
BOUNCE = re.compile(rb"^(?:Return-path: <>|Return-Path: <>|From MAILER-DAEMON )", re.M)


def _sum(body):
    return b"%08x" % zlib.crc32(body.replace(b"\r\n", b"\n"))


def make(number, sender, rcpts, rng, size):
    """The message as bytes with CRLF line ends; `rng` makes it repeatable."""
    line_bytes = 72
    lines = []
    # rng.choices on 72 characters a line would dominate the load's own cost.
    block = "%0*x" % (line_bytes, rng.getrandbits(line_bytes * 4))
    for n in range(max(1, size // (line_bytes + 2))):
        cut = (n * 7) % line_bytes
        lines.append(block[cut:] + block[:cut])
    body = ("\n".join(lines) + "\n").encode()
    end = b"END " + number.encode() + b" " + _sum(body) + b"\n"
    head = ("From: <%s>\nTo: %s\nSubject: load\nMessage-ID: <%s@load.test>\nX-Number: %s\n\n"
            % (sender, ", ".join("<%s>" % r for r in rcpts), number, number)).encode()
    return (head + body + end).replace(b"\n", b"\r\n")


def scan(data):
    """(numbers of whole copies, in order; descriptions of what is cut).

    Whole means: number, blank line, body, END line with the same number and
    the right sum before the next number.  Anything after the last END that is
    not blank must begin a new message, so a message cut before its number
    shows as residue.
    """
    whole, cut = [], []
    starts = list(NUMBER.finditer(data))
    for here, nxt in zip(starts, starts[1:] + [None]):
        number = here.group(1)
        stop = nxt.start() if nxt else len(data)
        blank = re.compile(rb"\r?\n\r?\n").search(data, here.end(), stop)
        end = END.search(data, here.end(), stop)
        if not blank or not end or end.group(1) != number:
            cut.append("%s: no end" % number.decode())
            continue
        if _sum(data[blank.end():end.start()]) != end.group(2):
            cut.append("%s: wrong sum" % number.decode())
            continue
        rest = data[end.end():stop].lstrip(b"\r\n")
        if rest and not (nxt and rest.startswith((b"From ", b"Return-"))):
            cut.append("%s: %d bytes after its end" % (number.decode(), len(rest)))
        whole.append(number.decode())
    if not starts and data.strip():
        cut.append("%d bytes without a number" % len(data))
    return whole, cut
