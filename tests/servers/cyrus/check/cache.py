"""cyrus.cache: the range that belongs to one record."""
import zlib

FIELDS = 10


def crc_at(data, offset):
    """The CRC of the record that begins here; None where it reaches beyond the file."""
    at = offset
    for _ in range(FIELDS):
        if at + 4 > len(data):
            return None
        size = int.from_bytes(data[at:at + 4], "big")
        at += 4 + size + -size % 4
        if at > len(data):
            return None
    return zlib.crc32(data[offset:at])
