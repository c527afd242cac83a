"""A reader for twoskip databases: what a Cyrus that opened this file would find in it.

A database in the middle of a transaction (the dirty flag) is read as recovery reads it, up to its
last commit; that it was caught there is a finding of its own.
"""
import struct
import zlib

from .finding import Finding

MAGIC = b"\xa1\x02\x8b\x0dtwoskip file\0\0\0\0"
HEADER = struct.Struct(">20sIQQQQII")                   # 64 bytes
DUMMY, RECORD, DELETE = b"=", b"+", b"-"
DIRTY = 1


class Broken(ValueError):
    """The file cannot be read any further."""


def is_twoskip(data):
    return data[:20] == MAGIC


def read(data, name, findings):
    """{key: value} of the database in these bytes, adding what is wrong to findings."""
    try:
        return _read(data, name, findings)
    except Broken as wrong:
        findings.append(Finding("database-crc", name, str(wrong)))
    except (struct.error, IndexError):
        findings.append(Finding("unreadable", name, f"ends early, at {len(data)} bytes"))
    return {}


def _read(data, name, findings):
    magic, _, _, count, _, end, flags, crc = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Broken("not a twoskip file")
    if zlib.crc32(data[:60]) != crc:
        raise Broken("the header's CRC is wrong")
    if flags & DIRTY:
        findings.append(Finding("database-dirty", name, "in the middle of a transaction"))
    elif end != len(data):
        raise Broken(f"header says {end} bytes, the file has {len(data)}")
    if end > len(data):
        raise Broken(f"header says {end} bytes, the file has {len(data)}")
    found, at = {}, _next(_head(data, HEADER.size, end), end)
    while at:
        kind, pointers, key, value = head = _head(data, at, end)
        if kind == RECORD:
            found[key] = value
        at = _next(head, end)
        if len(found) > count + 100_000:
            raise Broken("its records form a loop")
    if len(found) != count and not flags & DIRTY:       # a dirty header's count is an older one
        findings.append(Finding("database-count", name, f"{count} records, but {len(found)} found"))
    return found


def _head(data, at, end):
    if at % 8 or not HEADER.size <= at <= end - 24:
        raise Broken(f"a pointer to {at}")
    start, kind, level = at, data[at:at + 1], data[at + 1]
    keylen, vallen = struct.unpack_from(">HI", data, at + 2)
    at += 8
    if kind not in (DUMMY, RECORD, DELETE) or level > 31:
        raise Broken(f"no record at {start}")
    if keylen == 0xFFFF:
        keylen, = struct.unpack_from(">Q", data, at)
        at += 8
    if vallen == 0xFFFFFFFF:
        vallen, = struct.unpack_from(">Q", data, at)
        at += 8
    pointers = struct.unpack_from(f">{level + 1}Q", data, at)
    at += 8 * (level + 1)
    head_crc, tail_crc = struct.unpack_from(">II", data, at)
    if zlib.crc32(data[start:at]) != head_crc:
        raise Broken(f"the CRC of the record's head at {start} is wrong")
    at += 8
    size = keylen + vallen
    padded = size + -size % 8
    if at + padded > len(data):
        raise Broken(f"the record at {start} ends beyond the file")
    if zlib.crc32(data[at:at + padded]) != tail_crc:
        raise Broken(f"the CRC of the record's data at {start} is wrong")
    return kind, pointers, data[at:at + keylen], data[at + keylen:at + size]


def _next(head, end):
    """The lowest level has two pointers; the later one below the committed end counts."""
    pointers = [p for p in head[1][:2] if p < end]
    return max(pointers, default=0)
