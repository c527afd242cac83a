"""The numbered messages of the load, and how to recognise a whole one in a store.

A message names itself (X-Lab-Id) and its body's SHA-1 (X-Lab-Sum), so that any
reader of a store can say which message it found and whether it is whole.
"""

import hashlib
import re

_ID = re.compile(rb"^X-Lab-Id: (\S+)\r?$", re.M)
_SUM = re.compile(rb"^X-Lab-Sum: (\S+)\r?$", re.M)


def make(ident, rng, size=None):
    """A message with CRLF line ends, some hundred bytes to some 100 kB."""
    size = size or rng.choice((200, 900, 3_000, 9_000, 30_000, 90_000))
    lines = [f"{ident} line {n} {rng.getrandbits(320):080x}" for n in range(size // 110 + 1)]
    body = "\r\n".join(lines) + "\r\n"
    head = (f"From: lab@localhost\r\nTo: user@localhost\r\nSubject: {ident}\r\n"
            f"Message-ID: <{ident}@localhost>\r\nX-Lab-Id: {ident}\r\nX-Lab-Sum: {_sum(body.encode())}\r\n\r\n")
    return (head + body).encode()


def _sum(body):
    return hashlib.sha1(body.replace(b"\r\n", b"\n").rstrip(b"\n")).hexdigest()


def identify(raw):
    """(id, whole) of a message as a store keeps it; (None, False) if it is none of ours."""
    text = raw.replace(b"\r\n", b"\n")
    head, blank, body = text.partition(b"\n\n")
    ident, want = _ID.search(head), _SUM.search(head)
    if not ident or not want:
        return None, False
    return ident[1].decode(), bool(blank) and _sum(body) == want[1].decode()
