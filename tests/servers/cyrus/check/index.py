"""cyrus.index: its header and records as they lie in the file. Versions 16 (Cyrus 3.2), 17 (3.4 to 3.8) and 19 (3.10, 3.12): their
records are alike, and in the header some fields have moved."""
import struct
import zlib
from dataclasses import dataclass

ANSWERED, FLAGGED, DELETED, DRAFT, SEEN = 1, 2, 4, 8, 16
EXPUNGED, UNLINKED = 1 << 31, 1 << 30
NEEDS_UNLINK, MAILBOX_DELETED = 1 << 29, 1 << 31       # options in the header
# version: where exists, options and highestmodseq lie
MOVED = {16: (84, 60, 68), 17: (84, 60, 68), 19: (60, 64, 72)}


@dataclass
class Header:
    generation: int
    version: int
    start: int
    record_size: int
    records: int
    last_uid: int
    quota_used: int
    uidvalidity: int
    deleted: int
    answered: int
    flagged: int
    options: int
    highestmodseq: int
    exists: int
    header_file_crc: int
    synccrc: int
    unseen: int
    crc_right: bool


@dataclass
class Record:
    uid: int
    internaldate: int
    size: int
    cache_offset: int
    last_updated: int
    system_flags: int
    internal_flags: int
    user_flags: tuple
    guid: bytes
    modseq: int
    cid: int
    cache_crc: int
    crc_right: bool

    @property
    def expunged(self):
        return bool(self.internal_flags & EXPUNGED)

    @property
    def unlinked(self):
        return bool(self.internal_flags & UNLINKED)

    @property
    def counts(self):
        """Whether conversations count it: there, and not marked deleted."""
        return not self.expunged and not self.system_flags & DELETED

    @property
    def unseen(self):
        return not self.system_flags & (SEEN | DRAFT)


def _u32(data, at):
    return int.from_bytes(data[at:at + 4], "big")


def _u64(data, at):
    return int.from_bytes(data[at:at + 8], "big")


def header(data):
    """The header of these bytes of a cyrus.index. ValueError where there is none."""
    if len(data) < 160:
        raise ValueError(f"{len(data)} bytes, a header has 160")
    version = _u32(data, 8)
    exists, options, highestmodseq = MOVED.get(version, MOVED[17])
    h = Header(generation=_u32(data, 0), version=version, start=_u32(data, 12),
               record_size=_u32(data, 16), records=_u32(data, 20), last_uid=_u32(data, 28),
               quota_used=_u64(data, 32), uidvalidity=_u32(data, 44), deleted=_u32(data, 48),
               answered=_u32(data, 52), flagged=_u32(data, 56), options=_u32(data, options),
               highestmodseq=_u64(data, highestmodseq), exists=_u32(data, exists), header_file_crc=_u32(data, 96),
               synccrc=_u32(data, 100), unseen=_u32(data, 124),
               crc_right=zlib.crc32(data[:156]) == _u32(data, 156))
    if h.crc_right and (version not in MOVED or h.start != 160 or h.record_size != 112):
        raise ValueError(f"index version {version}: this checker reads {', '.join(map(str, MOVED))}")
    return h


_FIELDS = struct.Struct(">8I")                          # uid ... last_updated
_AFTER = struct.Struct(">I4I")                          # system flags, user flags


def records(data, h):
    """All whole records that the header counts."""
    found = []
    for at in range(160, min(len(data), 160 + 112 * h.records) - 111, 112):
        uid, internaldate, _, size, _, _, offset, updated = _FIELDS.unpack_from(data, at)
        flags, *user = _AFTER.unpack_from(data, at + 32)
        version = _u32(data, at + 56)
        found.append(Record(uid, internaldate, size, offset | (version & 0xFFFF0000) << 16, updated,
                            flags & 0xFFFF, flags & 0xFFFF0000, tuple(user),
                            data[at + 60:at + 80], _u64(data, at + 80), _u64(data, at + 88),
                            _u32(data, at + 104),
                            zlib.crc32(data[at:at + 108]) == _u32(data, at + 108)))
    return found


_FLAG_NAMES = ((DELETED, b"\\deleted"), (ANSWERED, b"\\answered"), (FLAGGED, b"\\flagged"),
               (DRAFT, b"\\draft"), (SEEN, b"\\seen"))


def synccrc(found, flag_names):
    """The header's sum over the states of all records, computed from the records."""
    total = 0
    for r in found:
        if r.expunged:
            continue
        flags = 0
        for bit, name in _FLAG_NAMES:
            if r.system_flags & bit:
                flags ^= zlib.crc32(name)
        for n, name in enumerate(flag_names):
            if name and r.user_flags[n // 32] & 1 << (n % 32):
                flags ^= zlib.crc32(name.lower())
        text = f"{r.uid} {r.modseq} {r.last_updated} ({flags}) {r.internaldate} {r.guid.hex()}"
        total ^= zlib.crc32(text.encode())
    return total
