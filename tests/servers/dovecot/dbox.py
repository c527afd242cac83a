"""Reads Dovecot's dbox files: `u.UID` (sdbox, one message) and `m.N` (mdbox, many).

A file is a line `2 M<header size> C<stamp>`, then messages: a header with magic
and size, the bytes, a metadata block that ends with an empty line.
"""

import re

PRE, POST = b"\x01\x02", b"\n\x01\x03\n"


class Message:
    def __init__(self, offset, end, body, meta):
        self.offset, self.end, self.body, self.meta = offset, end, body, meta

    @property
    def guid(self):
        return self.meta.get("G", "")


def parse(data):
    """(messages, position of the first byte that is not part of a whole message)."""
    line, nl, _ = data.partition(b"\n")
    m = re.match(rb"2 .*?M([0-9a-f]+)", line) if nl else None
    if not m:
        return [], 0
    header_size, pos, found = int(m[1], 16), len(line) + 1, []
    while (one := parse_one(data, pos, header_size)) is not None:
        found.append(one)
        pos = one.end
    return found, pos


def parse_one(data, pos, header_size=30):
    head = data[pos:pos + header_size]
    if len(head) < header_size or head[:2] != PRE or head[-1:] != b"\n":
        return None
    try:
        size = int(head[13:29], 16)
    except ValueError:
        return None
    at = pos + header_size
    body = data[at:at + size]
    if len(body) < size or data[at + size:at + size + 4] != POST:
        return None
    end = data.find(b"\n\n", at + size + 3)
    if end < 0:
        return None
    meta = {chr(line[0]): line[1:].decode("ascii", "replace")
            for line in data[at + size + 4:end].split(b"\n") if line}
    return Message(pos, end + 2, body, meta)
