"""One mailbox folder: cyrus.header, cyrus.index, cyrus.cache and the message files, together."""
import hashlib
import os
import re
import zlib
from dataclasses import dataclass, field

from . import cache, dlist, index
from .finding import Finding

_MESSAGE = re.compile(r"^([0-9]+)\.$")


@dataclass
class Mailbox:
    folder: str                                         # relative to the tree
    header: index.Header = None
    records: list = field(default_factory=list)         # those whose CRC is right
    name: bytes = b""                                   # of cyrus.header (an older one has none), as are the next two
    uniqueid: bytes = b""
    quotaroot: bytes = b""

    @property
    def being_deleted(self):
        """Deleted, and waiting for the last session that has it open to remove it."""
        return bool(self.header and self.header.options & index.MAILBOX_DELETED)

    @property
    def living(self):
        """Records that still have a message file and a place in conversations.db."""
        return [r for r in self.records if not r.unlinked]


def check(path, folder, findings):
    """Read and judge the mailbox in this directory."""
    box = Mailbox(folder)
    names = set(os.listdir(path))
    flag_names = _header(path, folder, box, findings)
    data = _bytes(path, "cyrus.index")
    if data is None:
        findings.append(Finding("folder-missing", folder, "no cyrus.index"))
        return box
    try:
        box.header = h = index.header(data)
    except ValueError as wrong:
        findings.append(Finding("unreadable", folder, f"cyrus.index: {wrong}"))
        return box
    if not h.crc_right:
        findings.append(Finding("index-crc", folder, "the header's CRC is wrong"))
        return box
    if len(data) != h.start + h.records * h.record_size:
        findings.append(Finding("index-size", folder,
                                f"{len(data)} bytes for {h.records} records"))
    found = index.records(data, h)
    box.records = [r for r in found if r.crc_right]
    for r in found:
        if not r.crc_right:
            findings.append(Finding("record-crc", folder, f"uid {r.uid}"))
    _against_header(box, flag_names, findings)
    header_file = _bytes(path, "cyrus.header")
    if header_file is not None and zlib.crc32(header_file) != h.header_file_crc:
        findings.append(Finding("header-crc", folder, "cyrus.header is another one"))
    _caches(path, box, findings)
    _messages(path, names, box, findings)
    return box


def _bytes(path, name):
    try:
        with open(os.path.join(path, name), "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def _header(path, folder, box, findings):
    """cyrus.header: three lines of greeting, then a list; before Cyrus 3.4 lines. The names of the user flags."""
    data = _bytes(path, "cyrus.header")
    if data is None:
        findings.append(Finding("folder-missing", folder, "no cyrus.header"))
        return []
    try:
        if b"%(" not in data:
            return _older_header(data, box)
        fields = dlist.parse(data[data.index(b"%("):])
    except (ValueError, IndexError):
        findings.append(Finding("unreadable", folder, "cyrus.header"))
        return []
    box.name, box.uniqueid = fields.get(b"N", b""), fields.get(b"I", b"")
    box.quotaroot = fields.get(b"Q", b"")
    flags = fields.get(b"U", [])
    return flags if isinstance(flags, list) else []


def _older_header(data, box):
    """Quota root and id, the flags, the rights: a line each. The name is that of the folder."""
    root, flags, _ = data.split(b"\n")[3:6]
    box.quotaroot, box.uniqueid = root.split(b"\t")[:2]
    return flags.split(b" ")


def _against_header(box, flag_names, findings):
    h, folder = box.header, box.folder
    uids = [r.uid for r in box.records]
    if any(a >= b for a, b in zip(uids, uids[1:])) or (uids and uids[-1] > h.last_uid):
        findings.append(Finding("record-order", folder, f"last UID {h.last_uid}"))
    kept = [r for r in box.records if not r.expunged]
    is_so = {"exists": len(kept), "quota_used": sum(r.size for r in kept),
             "answered": sum(bool(r.system_flags & index.ANSWERED) for r in kept),
             "flagged": sum(bool(r.system_flags & index.FLAGGED) for r in kept),
             "deleted": sum(bool(r.system_flags & index.DELETED) for r in kept),
             "unseen": sum(not r.system_flags & index.SEEN for r in kept)}
    for what, number in is_so.items():
        if getattr(h, what) != number:
            findings.append(Finding("index-counts", folder,
                                    f"{what} {getattr(h, what)}, the records have {number}"))
    if index.synccrc(box.records, flag_names) != h.synccrc:
        findings.append(Finding("index-synccrc", folder, "the records are in another state"))
    if any(r.modseq > h.highestmodseq for r in box.records):
        findings.append(Finding("index-modseq", folder, f"highest {h.highestmodseq}"))


def _caches(path, box, findings):
    living = box.living
    data = _bytes(path, "cyrus.cache") if living else b""
    for r in living:
        crc = cache.crc_at(data, r.cache_offset) if data is not None else None
        if crc != r.cache_crc:
            findings.append(Finding("cache", box.folder, f"uid {r.uid} at {r.cache_offset}" +
                                    (", outside the file" if crc is None else ", CRC")))


def _messages(path, names, box, findings):
    for r in box.living:
        data = _bytes(path, f"{r.uid}.") if f"{r.uid}." in names else None
        if data is None:
            findings.append(Finding("message-missing", box.folder, f"uid {r.uid}"))
        elif len(data) != r.size or hashlib.sha1(data).digest() != r.guid:
            findings.append(Finding("message-content", box.folder,
                                    f"uid {r.uid}: {len(data)} of {r.size} bytes"))
    # A record that is unlinked still names its file while the index says that files wait to be
    # removed: that is work put off, not a contradiction.
    named = {r.uid for r in box.records
             if not r.unlinked or box.header.options & index.NEEDS_UNLINK}
    for name in names:
        if (m := _MESSAGE.match(name)) and int(m[1]) not in named:
            findings.append(Finding("message-orphan", box.folder, f"uid {m[1]}"))
