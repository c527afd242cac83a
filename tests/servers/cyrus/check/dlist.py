"""Cyrus's textual lists: `(a "b" (c))` as Python lists, `%(K v ...)` as dicts. Bytes throughout."""

_SPECIAL = b' ()"\n'


def parse(data):
    """The first list in these bytes. ValueError where it is none."""
    value, _ = _value(data, 0)
    return value


def _value(data, at):
    if data[at:at + 2] == b"%(":
        items, at = _items(data, at + 2)
        if len(items) % 2:
            raise ValueError("a key without a value")
        return dict(zip(items[::2], items[1::2])), at
    if data[at:at + 1] == b"(":
        return _items(data, at + 1)
    if data[at:at + 1] == b'"':
        return _quoted(data, at + 1)
    if data[at:at + 1] == b"{":                         # a literal: {12+}\r\n, then 12 bytes
        close = data.index(b"}\r\n", at)
        start, size = close + 3, int(data[at + 1:close].rstrip(b"+"))
        return data[start:start + size], start + size
    end = at
    while end < len(data) and data[end] not in _SPECIAL:
        end += 1
    if end == at:
        raise ValueError(f"nothing to read at byte {at}")
    return data[at:end], end


def _items(data, at):
    items = []
    while True:
        while data[at:at + 1] == b" ":
            at += 1
        if data[at:at + 1] == b")":
            return items, at + 1
        value, at = _value(data, at)
        items.append(value)


def _quoted(data, at):
    out = bytearray()
    while data[at:at + 1] != b'"':
        if at >= len(data):
            raise ValueError("a quoted string without an end")
        at += data[at:at + 1] == b"\\"
        out += data[at:at + 1]
        at += 1
    return bytes(out), at + 1
